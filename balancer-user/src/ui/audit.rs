//! The audit trail: who has done what, one JSON object a line, only ever appended to.

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead, BufReader, Write},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{error, info};
use utoipa::ToSchema;

use super::data::Data;

/// The file.
const FILE: &str = "audit.jsonl";
/// The file before it, which gives way to the next.
const OLDER: &str = "audit.1.jsonl";
/// With so many bytes a new file is begun.
const MAX_BYTES: u64 = 16 << 20;
/// The longest detail, in bytes.
const MAX_DETAIL: usize = 16 << 10;

/// What somebody has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// When, by RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Who.
    pub account: String,
    /// From where.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// What.
    pub action: Action,
    /// Whether it was done, or refused.
    pub done: bool,
    /// The balancer it was done to.
    pub server: Option<String>,
    /// Particulars: the lines that have changed, or why not.
    pub detail: String,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sign in.
    SignIn,
    /// Sign out.
    SignOut,
    /// Change a configuration.
    Apply,
    /// Bring back the configuration before.
    Undo,
    /// Add a balancer to the list.
    AddServer,
    /// Change a balancer in the list.
    EditServer,
    /// Remove a balancer from the list.
    RemoveServer,
}

/// The trail.
#[derive(Debug)]
pub struct Audit {
    data: Data,
    writing: Mutex<()>,
}

impl Audit {
    /// That of a directory.
    pub fn new(data: Data) -> Audit {
        Audit { data, writing: Mutex::default() }
    }

    /// Writes an entry, here and in the log. Should the disk not take it, the log says so.
    pub fn write(&self, mut entry: Entry) {
        let Entry { account, address, action, done, server, .. } = &entry;
        let action = serde_json::to_value(action).unwrap_or_default();
        info!(
            account, %address, action = action.as_str(), done, server,
            "web interface"
        );
        entry.detail.truncate(entry.detail.floor_char_boundary(MAX_DETAIL));
        if let Err(error) = self.append(&entry) {
            let dir = self.data.dir().display();
            error!("the audit trail in {dir} can't be written: {error}");
        }
    }

    fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let _guard = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = self.data.append_to(FILE)?;
        if file.metadata()?.len() > MAX_BYTES {
            let dir = self.data.dir();
            fs::rename(dir.join(FILE), dir.join(OLDER))?;
            file = self.data.append_to(FILE)?;
        }
        file.write_all(&line)
    }

    /// The last entries, the newest first.
    pub fn newest(&self, count: usize) -> io::Result<Vec<Entry>> {
        let mut last = VecDeque::new();
        for name in [OLDER, FILE] {
            let file = match fs::File::open(self.data.dir().join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            for line in BufReader::new(file).lines() {
                // A line that a crash has cut is none.
                let Ok(entry) = serde_json::from_str(&line?) else { continue };
                last.push_front(entry);
                last.truncate(count);
            }
        }
        Ok(last.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(detail: String) -> Entry {
        Entry {
            time: Timestamp::now(),
            account: "ann".to_owned(),
            address: "::1".parse().unwrap(),
            action: Action::Apply,
            done: true,
            server: Some("local".to_owned()),
            detail,
        }
    }

    #[test]
    fn the_newest_come_first_and_half_a_line_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::new(Data::open(dir.path()).unwrap());
        assert_eq!(audit.newest(3).unwrap(), []);
        for number in 0..5 {
            audit.write(entry(number.to_string()));
        }
        fs::OpenOptions::new()
            .append(true)
            .open(dir.path().join(FILE))
            .unwrap()
            .write_all(b"{\"time\n")
            .unwrap();
        audit.write(entry("\u{fc}".repeat(MAX_DETAIL)));
        let newest = audit.newest(3).unwrap();
        assert_eq!(newest[0].detail.len(), MAX_DETAIL);
        assert_eq!((newest[1].detail.as_str(), newest[2].detail.as_str()), ("4", "3"));
    }

    #[test]
    fn the_trail_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::new(Data::open(dir.path()).unwrap());
        audit.write(entry("old".to_owned()));
        let file = fs::OpenOptions::new().append(true).open(dir.path().join(FILE)).unwrap();
        file.set_len(MAX_BYTES + 1).unwrap();
        audit.write(entry("new".to_owned()));
        assert!(fs::metadata(dir.path().join(FILE)).unwrap().len() < 1024);
        assert!(dir.path().join(OLDER).exists());
    }
}
