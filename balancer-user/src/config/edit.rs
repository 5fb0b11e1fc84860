//! Changes to the text of a file that leave everything else in it as it is, byte for byte:
//! comments, order, other programs' keys, line ends, even comments in an old encoding.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ReceiverId, Stream,
    entries::{Target, target},
    text::{self, Line, PREFIX},
};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The key has this value, on its line or on a new one beside the receiver's others.
    Set {
        /// As the documentation spells it; the file may have another spelling, and keeps it.
        key: String,
        /// The plain value. Quotes are put around it where the file needs them.
        value: String,
    },
    /// The key is not in the file: its default holds.
    Unset {
        /// As the documentation spells it.
        key: String,
    },
    /// No key of the receiver is in the file.
    Remove {
        /// Its stream, as in keys.
        stream: String,
        /// The number in the brackets.
        index: u32,
    },
}

/// Why a change can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// No parameter has this name.
    #[error("{0}: unknown key")]
    UnknownKey(String),
    /// No stream has this name.
    #[error("{0}: unknown stream")]
    UnknownStream(String),
    /// A file can't hold it.
    #[error("{0}: a value is one line of UTF-8 text, without control characters")]
    Unwritable(String),
}

/// The file with all changes made, in their order. A key that stands in it twice, which is a fault,
/// stands there once afterwards.
///
/// # Errors
///
/// The first change that can't be made.
pub fn edit(file: &[u8], changes: &[Change]) -> Result<Vec<u8>, EditError> {
    let mut lines = cut(file);
    for change in changes {
        match change {
            Change::Set { key, value } => set(&mut lines, owned(key)?, value)?,
            Change::Unset { key } => {
                let owned = owned(key)?;
                lines.retain(|line| line.owned.as_ref() != Some(&owned));
            }
            Change::Remove { stream, index } => {
                let id = receiver(stream, *index)?;
                lines.retain(|line| line.owned.as_ref().is_none_or(|o| o.receiver != Some(id)));
            }
        }
    }
    Ok(lines.into_iter().flat_map(|line| line.bytes).collect())
}

fn receiver(stream: &str, index: u32) -> Result<ReceiverId, EditError> {
    let stream: Stream = stream.parse().map_err(|_| EditError::UnknownStream(stream.to_owned()))?;
    Ok(ReceiverId { stream, index, subreceiver: None })
}

/// A line of the file as it stands there, or several when a quoted value spans them.
struct Piece {
    bytes: Vec<u8>,
    owned: Option<Owned>,
}

/// One of our keys.
#[derive(PartialEq)]
struct Owned {
    /// In the documented spelling.
    key: String,
    receiver: Option<ReceiverId>,
}

fn owned(key: &str) -> Result<Owned, EditError> {
    let target = target(key).map_err(|_| EditError::UnknownKey(key.to_owned()))?;
    let receiver = match target {
        Target::Global(_) => None,
        Target::Receiver(id, _) => Some(id),
    };
    Ok(Owned { key: target.key(), receiver })
}

/// The lines as `text` cuts them. It works on text, in which what is not UTF-8 has been replaced:
/// line ends are the same in both.
fn cut(file: &[u8]) -> Vec<Piece> {
    let text = String::from_utf8_lossy(file);
    let mut ends = file.split_inclusive(|byte| *byte == b'\n');
    let piece = |line: Line<'_>| {
        let count = line.raw.split_inclusive('\n').count();
        let bytes = ends.by_ref().take(count).flatten().copied().collect();
        let key = line.statement.map(|statement| statement.key);
        let owned = key.filter(|key| key.starts_with(PREFIX)).and_then(|key| owned(key).ok());
        Piece { bytes, owned }
    };
    text::lines(&text).into_iter().map(piece).collect()
}

fn set(lines: &mut Vec<Piece>, owned: Owned, value: &str) -> Result<(), EditError> {
    if value.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        return Err(EditError::Unwritable(owned.key));
    }
    let is_it = |line: &Piece| line.owned.as_ref() == Some(&owned);
    let Some(first) = lines.iter().position(is_it) else {
        insert(lines, owned, value);
        return Ok(());
    };
    let mut place = 0..;
    lines.retain(|line| place.next() <= Some(first) || !is_it(line));
    if let Some(line) = lines.get_mut(first) {
        line.replace(value);
    }
    Ok(())
}

/// Puts a new line behind the last one of the same receiver, or at the end, after a blank line.
fn insert(lines: &mut Vec<Piece>, owned: Owned, value: &str) {
    let end = line_end(lines);
    let beside = |line: &Piece| line.owned.as_ref().is_some_and(|o| o.receiver == owned.receiver);
    let place = lines.iter().rposition(beside);
    let before = place.unwrap_or(lines.len().wrapping_sub(1));
    if let Some(line) = lines.get_mut(before) {
        if !line.bytes.ends_with(b"\n") {
            line.bytes.extend_from_slice(end.as_bytes());
        }
        if place.is_none() && !line.bytes.trim_ascii().is_empty() {
            line.bytes.extend_from_slice(end.as_bytes());
        }
    }
    let bytes = format!("{}={}{end}", owned.key, written(value)).into_bytes();
    let at = place.map_or(lines.len(), |place| place + 1);
    lines.insert(at, Piece { bytes, owned: Some(owned) });
}

/// The line end that the file has.
fn line_end(lines: &[Piece]) -> &'static str {
    if lines.first().is_some_and(|line| line.bytes.ends_with(b"\r\n")) { "\r\n" } else { "\n" }
}

impl Piece {
    /// Gives the key another value; what stands before and behind it stays.
    fn replace(&mut self, value: &str) {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        let Some((key, assigned)) = text.split_once('=') else {
            let key = text.trim_end();
            let end = text.get(key.len()..).unwrap_or_default();
            self.bytes = format!("{key}={}{end}", written(value)).into_bytes();
            return;
        };
        let parts = text::parts(assigned);
        if text::value(assigned).is_ok_and(|old| old == value) {
            return;
        }
        let start = key.len() + 1 + parts.blank.len();
        // Behind a value that is not UTF-8 its end can't be found again; a comment there is lost.
        let sound = !parts.value.contains(char::REPLACEMENT_CHARACTER);
        let tail = self.bytes.get(start + parts.value.len()..).filter(|_| sound);
        let tail = tail.map_or(parts.tail.as_bytes().to_vec(), <[u8]>::to_vec);
        let mut bytes = format!("{key}={}{}", parts.blank, written(value)).into_bytes();
        if tail.starts_with(b"#") {
            bytes.push(b' ');
        }
        bytes.extend(tail);
        self.bytes = bytes;
    }
}

/// A value as the file has to have it, so that it reads back the same.
fn written(value: &str) -> String {
    if text::value(value).is_ok_and(|read| read == value) {
        value.to_owned()
    } else {
        format!("\"{}\"", text::escape(value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "# \u{441}\u{435}\u{440}\u{432}\u{435}\u{440}\r\n\
        \u{feff}export IPFIX_FULLFLOW_PORT = 1500   # first\r\n\
        OTHER='x y'\r\n\
        IPFIX_FULLFLOW_BALANCER_SUB[0]=\"10.0.0.1/1,\r\n 10.0.0.2/2\" # two\r\n\
        \r\n\
        IPFIX_DNSFLOW_PORT[1]=1600";

    fn set(key: &str, value: &str) -> Change {
        Change::Set { key: key.to_owned(), value: value.to_owned() }
    }

    fn edited(file: &str, changes: &[Change]) -> String {
        String::from_utf8(edit(file.as_bytes(), changes).unwrap()).unwrap()
    }

    #[test]
    fn a_value_changes_where_it_stands_and_nothing_else() {
        let file = edited(FILE, &[set("IPFIX_FULLFLOW_PORT[0]", "9500")]);
        assert_eq!(file, FILE.replace("1500   #", "9500   #"));
        let file = edited(FILE, &[set("IPFIX_FULLFLOW_BALANCER_SUB[0]", "10.0.0.9/9")]);
        assert_eq!(file, FILE.replace("\"10.0.0.1/1,\r\n 10.0.0.2/2\"", "10.0.0.9/9"));
        let file = edited(FILE, &[set("IPFIX_DNSFLOW_PORT[1]", "1601")]);
        assert_eq!(file, FILE.replace("1600", "1601"));
    }

    #[test]
    fn what_a_file_says_already_is_not_rewritten() {
        let changes = [set("IPFIX_FULLFLOW_PORT[0]", "1500"), set("IPFIX_DNSFLOW_PORT[1]", "1600")];
        assert_eq!(edited(FILE, &changes), FILE);
    }

    #[test]
    fn new_keys_stand_beside_the_others_of_their_receiver() {
        let changes = [
            set("IPFIX_FULLFLOW_BALANCER[0]", "All"),
            set("IPFIX_NATFLOW_PORT[2]", "1700"),
            set("IPFIX_NATFLOW_BALANCER[2]", "All"),
        ];
        let expected = FILE.replace("# two\r\n", "# two\r\nIPFIX_FULLFLOW_BALANCER[0]=All\r\n")
            + "\r\n\r\nIPFIX_NATFLOW_PORT[2]=1700\r\nIPFIX_NATFLOW_BALANCER[2]=All\r\n";
        assert_eq!(edited(FILE, &changes), expected);
    }

    #[test]
    fn an_empty_file_is_begun() {
        let changes = [set("IPFIX_UI_LISTEN", "127.0.0.1:8080")];
        assert_eq!(edited("", &changes), "IPFIX_UI_LISTEN=127.0.0.1:8080\n");
    }

    #[test]
    fn keys_and_receivers_are_taken_out_with_their_lines() {
        let changes = [Change::Unset { key: "IPFIX_FULLFLOW_PORT[0]".to_owned() }];
        let line = "\u{feff}export IPFIX_FULLFLOW_PORT = 1500   # first\r\n";
        assert_eq!(edited(FILE, &changes), FILE.replace(line, ""));
        let remove =
            |(stream, index): (&str, u32)| Change::Remove { stream: stream.to_owned(), index };
        let left = "# \u{441}\u{435}\u{440}\u{432}\u{435}\u{440}\r\nOTHER='x y'\r\n\r\n";
        assert_eq!(edited(FILE, &[("FULLFLOW", 0), ("DNSFLOW", 1)].map(remove)), left);
    }

    #[test]
    fn a_key_given_twice_is_given_once_afterwards() {
        let file = "IPFIX_FULLFLOW_PORT=1\nIPFIX_FULLFLOW_PORT[0]=2\nA=1\n";
        let changes = [set("IPFIX_FULLFLOW_PORT[0]", "3")];
        assert_eq!(edited(file, &changes), "IPFIX_FULLFLOW_PORT=3\nA=1\n");
    }

    #[test]
    fn a_comment_behind_an_empty_value_stays_one() {
        let changes = [set("IPFIX_FULLFLOW_PORT[0]", "3")];
        for empty in ["IPFIX_FULLFLOW_PORT= # none\n", "IPFIX_FULLFLOW_PORT=# none\n"] {
            let file = edited(empty, &changes);
            assert!(file.ends_with("3 # none\n"), "{file}");
        }
        assert_eq!(edited("IPFIX_FULLFLOW_PORT\n", &changes), "IPFIX_FULLFLOW_PORT=3\n");
    }

    #[test]
    fn comments_in_an_old_encoding_stay() {
        let file = b"# \xc0\xc1\nIPFIX_FULLFLOW_PORT=1 # \xc2\xc3\nIPFIX_FULLFLOW_BIND=\xc4 # a\n";
        let changes = [set("IPFIX_FULLFLOW_PORT[0]", "2"), set("IPFIX_FULLFLOW_BIND[0]", "::1")];
        let expected =
            b"# \xc0\xc1\nIPFIX_FULLFLOW_PORT=2 # \xc2\xc3\nIPFIX_FULLFLOW_BIND=::1 # a\n";
        assert_eq!(edit(file, &changes).unwrap(), expected);
    }

    #[test]
    fn what_no_file_can_hold_is_refused() {
        let unknown = edit(b"", &[set("IPFIX_FULLFLOW_PROT[0]", "1")]).unwrap_err();
        assert_eq!(unknown, EditError::UnknownKey("IPFIX_FULLFLOW_PROT[0]".to_owned()));
        let key = "IPFIX_FULLFLOW_DUMP_DIR[0]".to_owned();
        let forged = edit(b"", &[set(&key, "/a\nIPFIX_FULLFLOW_PORT[0]=1")]).unwrap_err();
        assert_eq!(forged, EditError::Unwritable(key));
    }

    proptest! {
        #[test]
        fn every_value_reads_back_and_other_lines_stay(value in "[^\\p{C}\u{fffd}]{0,20}", old in "\\PC{0,20}") {
            let key = "IPFIX_FULLFLOW_DUMP_DIR[0]";
            let file = format!("{key}={old}\nIPFIX_FULLFLOW_PORT[0]=1500\n");
            let new = edited(&file, &[set(key, value.trim())]);
            let lines = text::lines(&new);
            let read = lines.first().and_then(|l| l.statement).and_then(|s| s.value).map(text::value);
            prop_assert_eq!(read, Some(Ok(value.trim().to_owned())));
            prop_assert!(new.ends_with("\nIPFIX_FULLFLOW_PORT[0]=1500\n"));
        }
    }
}
