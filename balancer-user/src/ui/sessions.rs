//! Who is signed in. Sessions live in memory: a restart ends them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use sha2::{Digest, Sha256};

/// Sessions at a time; over it the one that has been idle for longest ends.
pub const MAX_SESSIONS: usize = 256;
/// A session without a request for so long is over.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// No session is longer.
pub const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);

/// Bytes of a token: nobody guesses it.
const TOKEN: usize = 32;

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    /// The account's name.
    pub account: String,
    /// The account's password hash when it was signed in: with another password the session is over.
    pub hash: String,
    /// What requests that change something have to bring along.
    pub csrf: String,
    began: Instant,
    used: Instant,
}

/// All sessions, by the hash of their cookie: how long a look-up takes says nothing about cookies.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<Key, Session>>);

type Key = [u8; TOKEN];

impl Sessions {
    /// Begins a session: its cookie's value, and its CSRF token.
    pub fn begin(&self, account: &str, hash: &str) -> anyhow::Result<(String, String)> {
        self.begin_at(account, hash, Instant::now())
    }

    fn begin_at(
        &self,
        account: &str,
        hash: &str,
        now: Instant,
    ) -> anyhow::Result<(String, String)> {
        let (cookie, csrf) = (token()?, token()?);
        let session = Session {
            account: account.to_owned(),
            hash: hash.to_owned(),
            csrf: csrf.clone(),
            began: now,
            used: now,
        };
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, session| session.lives(now));
        if table.len() >= MAX_SESSIONS
            && let Some(oldest) = table.iter().min_by_key(|(_, it)| it.used).map(|(key, _)| *key)
        {
            table.remove(&oldest);
        }
        table.insert(key(&cookie), session);
        Ok((cookie, csrf))
    }

    /// The session of a cookie, which has been used by that. Looking on (`watching`) does not count:
    /// a page that is left open ends, too.
    pub fn find(&self, cookie: &str, watching: bool) -> Option<Session> {
        self.find_at(cookie, watching, Instant::now())
    }

    fn find_at(&self, cookie: &str, watching: bool, now: Instant) -> Option<Session> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = table.get_mut(&key(cookie)).filter(|session| session.lives(now))?;
        if !watching {
            session.used = now;
        }
        Some(session.clone())
    }

    /// Ends a session.
    pub fn end(&self, cookie: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(cookie));
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.duration_since(self.used) < IDLE && now.duration_since(self.began) < LONGEST
    }
}

fn key(cookie: &str) -> Key {
    Sha256::digest(cookie).into()
}

fn token() -> anyhow::Result<String> {
    let mut bytes = [0; TOKEN];
    getrandom::fill(&mut bytes).context("the system has no random numbers")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_idle_or_old_or_ended() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let (cookie, csrf) = sessions.begin_at("ann", "hash", start).unwrap();
        assert_ne!(cookie, csrf);
        assert_eq!(sessions.find_at(&cookie, false, start).unwrap().account, "ann");
        assert!(sessions.find_at(&csrf, false, start).is_none());
        let almost = IDLE - Duration::from_secs(1);
        // Looking on is no use.
        assert!(sessions.find_at(&cookie, true, start + almost).is_some());
        assert!(sessions.find_at(&cookie, true, start + IDLE).is_none());
        let mut now = start;
        while now + almost < start + LONGEST {
            now += almost;
            assert!(sessions.find_at(&cookie, false, now).is_some());
        }
        assert!(sessions.find_at(&cookie, false, start + LONGEST).is_none());
        let (cookie, _) = sessions.begin("ann", "hash").unwrap();
        sessions.end(&cookie);
        assert!(sessions.find(&cookie, false).is_none());
    }

    #[test]
    fn the_idlest_gives_way_when_there_are_too_many() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let (first, _) = sessions.begin_at("ann", "hash", start).unwrap();
        let (second, _) = sessions.begin_at("ann", "hash", start).unwrap();
        let later = start + Duration::from_secs(1);
        sessions.find_at(&first, false, later).unwrap();
        for _ in 2..=MAX_SESSIONS {
            sessions.begin_at("bob", "hash", later).unwrap();
        }
        assert!(sessions.find_at(&first, false, later).is_some());
        assert!(sessions.find_at(&second, false, later).is_none());
    }
}
