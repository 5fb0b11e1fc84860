//! The journal's own protocol: one datagram a line, with fields.
//!
//! MESSAGE is the whole sentence, since that is all that `journalctl` shows unless asked for more;
//! and a journal that takes nothing must never hold up a handler: lines it does not take are counted,
//! and the next one says so. No crate at hand does both.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::{IDENTIFIER, line::Line};

/// Where journald takes lines.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest value: with it the datagram is below what a socket sends at most.
const MAX_VALUE: usize = 32 << 10;

/// Sends events to the journal.
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    lost: AtomicU64,
}

impl Journal {
    /// Looks whether there is a journal.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let path = path.as_ref().to_owned();
        // Nothing at all is no line. The name is looked up each time: journald may start anew.
        socket.send_to(&[], &path)?;
        Ok(Journal { socket, path, lost: AtomicU64::new(0) })
    }

    fn send(&self, level: Level, line: &Line) {
        let mut message = line.sentence();
        let lost = self.lost.load(Relaxed);
        if lost > 0 {
            message
                .push_str(&format!(" ({lost} lines before this one did not get into the journal)"));
        }
        match self.socket.send_to(&entry(level, &message, &line.fields), &self.path) {
            Ok(_) => self.lost.fetch_sub(lost, Relaxed),
            Err(_) => self.lost.fetch_add(1, Relaxed),
        };
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.send(*event.metadata().level(), &Line::of(event));
    }
}

/// One entry, as <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/> wants it.
fn entry(level: Level, message: &str, fields: &[(&'static str, String)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    put(&mut bytes, "MESSAGE", message);
    put(&mut bytes, "PRIORITY", priority(level));
    put(&mut bytes, "SYSLOG_IDENTIFIER", IDENTIFIER);
    for (name, value) in fields {
        put(&mut bytes, &name.to_ascii_uppercase(), value);
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    let value = value.as_bytes();
    let value = value.get(..MAX_VALUE).unwrap_or(value);
    bytes.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
}

/// As in syslog: error, warning, informational, debug.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use tracing::{info, warn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// A journal that is none, and what it gets.
    fn stand_in() -> (tempfile::TempDir, UnixDatagram, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let journal = Journal::open(&path).unwrap();
        assert_eq!(receive(&socket), b"");
        (folder, socket, journal)
    }

    fn receive(socket: &UnixDatagram) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 18];
        let length = socket.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    #[test]
    fn a_line_has_its_fields_and_is_whole_without_them() {
        let (_folder, socket, journal) = stand_in();
        let subscriber = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(subscriber, || {
            warn!(
                receiver = "FULLFLOW[0]", destination = %"10.0.0.1/1500/tcp", reason = "queue_full",
                left_out = 0_u64, "messages are dropped"
            );
            info!("two\nlines");
        });
        assert_eq!(
            String::from_utf8(receive(&socket)).unwrap(),
            "MESSAGE=FULLFLOW[0] 10.0.0.1/1500/tcp: messages are dropped (reason queue_full)\n\
             PRIORITY=4\nSYSLOG_IDENTIFIER=IPFIXcol2\nRECEIVER=FULLFLOW[0]\n\
             DESTINATION=10.0.0.1/1500/tcp\nREASON=queue_full\n"
        );
        let expected = b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=6\n";
        assert!(receive(&socket).starts_with(expected));
    }

    #[test]
    fn a_journal_that_takes_nothing_holds_nobody_up_and_loss_is_told() {
        let (_folder, socket, journal) = stand_in();
        let line = Line { message: "x".to_owned(), fields: Vec::new() };
        // Comes back although nobody reads.
        let journal = thread::spawn(move || {
            while journal.lost.load(Relaxed) < 5 {
                journal.send(Level::INFO, &line);
            }
            journal
        })
        .join()
        .unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 1024];
        while socket.recv(&mut buffer).is_ok() {}
        socket.set_nonblocking(false).unwrap();
        let line = Line { message: "y".to_owned(), fields: Vec::new() };
        journal.send(Level::INFO, &line);
        let told = String::from_utf8(receive(&socket)).unwrap();
        assert!(told.starts_with("MESSAGE=y (5 lines before this one"), "{told}");
        journal.send(Level::INFO, &line);
        assert!(receive(&socket).starts_with(b"MESSAGE=y\n"));
    }

    #[test]
    fn a_huge_value_is_cut() {
        let (_folder, socket, journal) = stand_in();
        let fields = vec![("detail", "z".repeat(1 << 20))];
        journal.send(Level::INFO, &Line { message: "m".repeat(1 << 20), fields });
        assert!(receive(&socket).len() > MAX_VALUE);
    }
}
