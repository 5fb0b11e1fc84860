//! How often somebody may try to sign in.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Attempts that may fail within [`WINDOW`] for an account from one address.
pub const MAX_FAILED: u32 = 5;
/// How long failed attempts count, from the first of them.
pub const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Addresses and accounts that are remembered.
const MAX_REMEMBERED: usize = 4096;

/// Failed attempts of addresses and accounts.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<Who, Failed>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    /// A network of one owner: an IPv4 address, or the first half of an IPv6 address.
    Network(IpAddr),
    /// An account from one network.
    From(IpAddr, String),
    /// An account from anywhere.
    Account(String),
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    since: Instant,
    count: u32,
}

impl Attempts {
    /// Counts an attempt as failed before it is made, so that many at once are no way around;
    /// `Err` says for how long there must be none.
    pub fn begin(&self, address: IpAddr, account: &str) -> Result<(), Duration> {
        self.begin_at(address, account, Instant::now())
    }

    fn begin_at(&self, address: IpAddr, account: &str, now: Instant) -> Result<(), Duration> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, failed| now.duration_since(failed.since) < WINDOW);
        for (who, most) in limits(address, account) {
            if let Some(failed) = table.get(&who).filter(|failed| failed.count >= most) {
                return Err(WINDOW.saturating_sub(now.duration_since(failed.since)));
            }
            if table.len() >= MAX_REMEMBERED && !table.contains_key(&who) {
                return Err(WINDOW);
            }
            table.entry(who).or_insert(Failed { since: now, count: 0 }).count += 1;
        }
        Ok(())
    }

    /// It has not failed.
    pub fn succeeded(&self, address: IpAddr, account: &str) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (who, _) in limits(address, account) {
            table.remove(&who);
        }
    }
}

/// How often each may fail. Several people may be behind one address, and somebody else's failures
/// must not soon lock an operator out.
fn limits(address: IpAddr, account: &str) -> [(Who, u32); 3] {
    let network = network(address);
    [
        (Who::From(network, account.to_owned()), MAX_FAILED),
        (Who::Network(network), 4 * MAX_FAILED),
        (Who::Account(account.to_owned()), 20 * MAX_FAILED),
    ]
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_sixth_attempt_has_to_wait_until_the_first_is_forgotten() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let here = address("192.0.2.1");
        for _ in 0..MAX_FAILED {
            assert_eq!(attempts.begin_at(here, "ann", start), Ok(()));
        }
        let later = start + Duration::from_secs(60);
        assert_eq!(attempts.begin_at(here, "ann", later), Err(WINDOW - Duration::from_secs(60)));
        assert_eq!(attempts.begin_at(here, "bob", later), Ok(()));
        assert_eq!(attempts.begin_at(address("192.0.2.2"), "ann", later), Ok(()));
        assert_eq!(attempts.begin_at(here, "ann", start + WINDOW), Ok(()));
    }

    #[test]
    fn names_and_addresses_are_no_way_around() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let allowed = |attempt: &dyn Fn(u32) -> Result<(), Duration>| {
            (0..1000).take_while(|n| attempt(*n).is_ok()).count()
        };
        let names = |n: u32| attempts.begin_at(address("2001:db8::1"), &format!("a{n}"), start);
        assert_eq!(allowed(&names), 20);
        let host = |n: u32| attempts.begin_at(address(&format!("2001:db8::{n:x}")), "x", start);
        assert_eq!(allowed(&host), 0);
        let networks = |n: u32| {
            attempts.begin_at(address(&format!("2001:db8:0:{:x}::1", n + 1)), "ann", start)
        };
        assert_eq!(allowed(&networks), 100);
    }

    #[test]
    fn success_forgets_failures() {
        let (attempts, here) = (Attempts::default(), address("::1"));
        for _ in 0..10 * MAX_FAILED {
            attempts.begin(here, "ann").unwrap();
            attempts.succeeded(here, "ann");
        }
    }
}
