//! Journals, whole and damaged.

use std::{fs, path::Path, time::Instant};

use bytes::Bytes;

use super::{
    journal::{Archive, Journal, MAGIC, read},
    session::{Progress, SavedSession},
};
use crate::{
    config::{Mode, Protocol},
    session::{Outlook, Router, Saved, Shape},
};

/// A template, and a data record of it, of observation domain 1.
const TEMPLATE: &[u8] =
    &[0, 10, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 12, 1, 0, 0, 1, 0, 8, 0, 4];

fn router() -> Router {
    let shape = Shape {
        mode: Mode::RoundRobin,
        input: Protocol::Tcp,
        outputs: vec![Protocol::Tcp; 2],
        counts: false,
        template_seconds: 0,
        template_messages: 0,
    };
    Router::new(shape, 1)
}

fn session(port: u16, router: &Router) -> SavedSession {
    SavedSession {
        peer: ([192, 0, 2, 1], port).into(),
        local: ([192, 0, 2, 2], 1500).into(),
        destinations: Vec::new(),
        progress: Progress { numbers: router.numbers(), ..Progress::default() },
        router: router.save(),
        waiting: vec![Bytes::from_static(TEMPLATE)],
    }
}

/// Two sessions have begun; the first has learned a template, the second is over.
fn written(path: &Path) -> (Journal, Router) {
    let mut router = router();
    let mut journal = Journal::new(path.to_owned());
    journal.rewrite([(1, session(1, &router))].into_iter());
    journal.began(2, session(2, &router));
    let outlook =
        Outlook { turn: 3, reachable: 3, queued: false, room: usize::MAX, now: Instant::now() };
    router.route(&mut TEMPLATE.to_vec(), &outlook, &mut Vec::new()).unwrap();
    journal.learned(1, router.lesson(TEMPLATE).unwrap());
    assert!(journal.is_urgent());
    journal.progressed(1, Progress { numbers: router.numbers(), ..Progress::default() });
    journal.released(1);
    journal.ended(2);
    journal.write();
    assert!(!journal.is_urgent());
    (journal, router)
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    assert!(read(&path).unwrap().is_empty(), "no journal is an empty one");
    let (mut journal, router) = written(&path);
    let heirs = read(&path).unwrap();
    assert_eq!(heirs.len(), 1);
    assert_eq!(heirs[0].session.peer.port(), 1);
    assert!(heirs[0].session.waiting.is_empty());
    assert_eq!(heirs[0].router.save(), router.save());
    journal.rewrite([(7, session(3, &router))].into_iter());
    let heirs = read(&path).unwrap();
    assert_eq!((heirs.len(), heirs[0].session.peer.port()), (1, 3));
    journal.remove();
    assert!(!path.exists());
}

/// The sessions that a file tells of, comparable; `None` where it is refused.
fn told(path: &Path, bytes: &[u8]) -> Option<Vec<(SavedSession, Saved)>> {
    fs::write(path, bytes).unwrap();
    let heirs = read(path).ok()?;
    Some(heirs.into_iter().map(|heir| (heir.session, heir.router.save())).collect())
}

#[test]
fn what_is_cut_off_or_damaged_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    written(&path);
    let bytes = fs::read(&path).unwrap();
    let cut = (0..=bytes.len()).map(|len| told(&path, &bytes[..len]));
    let mut states: Vec<_> = cut.flatten().collect();
    states.dedup();
    // Nothing, and one more after each of the records.
    assert_eq!(states.len(), 7);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        // A record that seems to be longer than the file looks like one that is cut off.
        let told = told(&path, &damaged);
        assert!(told.is_none_or(|told| states.contains(&told)), "byte {at}");
    }
}

#[test]
fn only_journals_of_receivers_that_are_served_stay() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::new(folder.path(), Path::new("/my.env"));
    let [kept, other] = [1, 2].map(|port| archive.journal(Protocol::Tcp, port));
    let others = Archive::new(folder.path(), Path::new("/other.env"));
    let not_ours = others.journal(Protocol::Tcp, 2);
    for path in [&kept, &other, &not_ours] {
        fs::write(path, MAGIC).unwrap();
    }
    archive.keep_only(std::slice::from_ref(&kept)).unwrap();
    assert!(kept.exists() && not_ours.exists() && !other.exists());
}
