//! What is put into spools comes out of them: in order, once, whatever happens to the files.

use std::{
    fs::{self, OpenOptions},
    io::ErrorKind::ResourceBusy,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{
    message::{Header, VERSION},
    reason::Reason,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    segment::Label,
    segments::{Amount, Portion, Spool},
    store::{Store, segment_files},
};
use crate::{
    config::{self, ReceiverId, SpoolFull, Stream},
    stats::ReceiverStats,
};

const NOW: u64 = 1_795_449_600;
const RECEIVER: ReceiverId = ReceiverId { stream: Stream::Fullflow, index: 0, subreceiver: None };
const ALL: usize = usize::MAX;

/// A message that says its number.
fn message(number: u64, length: u16) -> Vec<u8> {
    let sequence = u32::try_from(number).unwrap();
    let header = Header { version: VERSION, length, export_time: 0, sequence, domain: 0 };
    let mut bytes = header.to_bytes().to_vec();
    bytes.resize(length.into(), 7);
    bytes
}

fn label() -> Label {
    Label {
        receiver: RECEIVER.to_string(),
        destination: Some("192.0.2.9/1500/tcp".to_owned()),
        exporter: "192.0.2.1:4000".parse().unwrap(),
    }
}

/// The numbers that messages say.
fn numbers(bytes: &[u8]) -> Vec<u64> {
    super::messages(bytes).map(|m| Header::read(m).unwrap().sequence.into()).collect()
}

fn preamble() -> Vec<u8> {
    message(999_999, 16)
}

/// A spool of `count` messages of 100 bytes, in segments of `each`, on the disk.
fn filled(dir: &Path, count: u64, each: u64) -> Spool {
    let mut spool = Spool::new(dir, label(), 1);
    for number in 0..count {
        if number % each == 0 {
            spool.begin(&preamble(), NOW);
        }
        assert_eq!(spool.append(&message(number, 100), 1, NOW), 0);
    }
    spool.write().unwrap();
    spool.sync().unwrap();
    spool
}

fn read_all(spool: &mut Spool) -> Vec<u64> {
    let mut read = Vec::new();
    loop {
        let portion = spool.read(1000).unwrap();
        if portion.messages.is_empty() {
            assert_eq!(portion.first, portion.next);
            return read;
        }
        let numbers = numbers(&portion.messages);
        assert_eq!(numbers.len() as u64, portion.next - portion.first);
        read.extend(numbers);
    }
}

fn recovered(root: &Path) -> Option<Spool> {
    let (dir, paths) = segment_files(root).unwrap().into_iter().next()?;
    let parts = paths.iter().filter_map(|path| super::segment::Segment::recover(path).ok());
    Spool::recover(&dir, parts.collect())
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        segment_files(root).unwrap().into_iter().flat_map(|(_, files)| files).collect();
    files.sort();
    files
}

#[test]
fn messages_come_out_in_order_with_templates_at_each_segment() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = filled(&root.path().join("d"), 10, 4);
    assert_eq!(files(root.path()).len(), 3);
    for segment in [0..4, 4..8, 8..10] {
        let portion = spool.read(ALL).unwrap();
        assert_eq!(numbers(&portion.learn), [999_999]);
        assert_eq!((portion.first, portion.next), (segment.start, segment.end));
        assert_eq!(numbers(&portion.messages), segment.collect::<Vec<_>>());
    }
    let end = Portion { first: 10, next: 10, ..Portion::default() };
    assert_eq!(spool.read(ALL).unwrap(), end);
    assert_eq!(spool.append(&message(10, 16), 1, NOW), 0);
    // Not written yet, and read all the same.
    assert_eq!(read_all(&mut spool), [10]);
}

#[test]
fn segments_go_when_their_messages_have_arrived() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = filled(&root.path().join("d"), 10, 4);
    assert_eq!(spool.amount().messages, 10);
    spool.release(3);
    assert_eq!((files(root.path()).len(), spool.amount().messages), (3, 7));
    spool.release(8);
    assert_eq!(files(root.path()).len(), 1);
    spool.release(10);
    assert_eq!(files(root.path()).len(), 1, "more may come for the last one");
    spool.seal();
    assert!(spool.is_empty() && files(root.path()).is_empty());
    assert_eq!(spool.amount(), Amount::default());
}

#[test]
fn the_next_daemon_goes_on_where_this_one_has_noted_it() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = filled(&root.path().join("d"), 10, 4);
    spool.release(6);
    spool.sync().unwrap();
    drop(spool);
    let mut spool = recovered(root.path()).unwrap();
    assert_eq!(spool.amount().messages, 4);
    let portion = spool.read(ALL).unwrap();
    assert_eq!(numbers(&portion.learn), [999_999, 4, 5], "for the templates in them");
    assert_eq!(numbers(&portion.messages), [6, 7]);
    spool.begin(&preamble(), NOW);
    assert_eq!(spool.append(&message(10, 16), 1, NOW), 0);
    assert_eq!(read_all(&mut spool), [8, 9, 10]);
}

#[test]
fn what_is_dropped_is_what_was_not_read() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = filled(&root.path().join("d"), 10, 4);
    let portion = spool.read(1).unwrap();
    let read = portion.next;
    assert!(read > 0 && read <= 4);
    assert_eq!(spool.drop_oldest(), 4 - read);
    let portion = spool.read(ALL).unwrap();
    assert_eq!((portion.first, numbers(&portion.learn)), (4, vec![999_999]));
    spool.drop_oldest();
    assert_eq!(spool.drop_oldest(), 2);
    assert_eq!(spool.append(&message(10, 16), 1, NOW), 1, "its segment is gone");
    assert_eq!(spool.read(ALL).unwrap().first, 11);
    spool.begin(&preamble(), NOW);
    assert_eq!(spool.append(&message(11, 16), 1, NOW), 0);
    assert_eq!(read_all(&mut spool), [11]);
}

#[test]
fn what_is_in_memory_is_not_read_and_not_lost() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = filled(&root.path().join("d"), 8, 4);
    spool.read_from(10);
    assert_eq!((spool.drop_oldest(), spool.drop_oldest()), (0, 0));
    let three: Vec<u8> = (8..11).flat_map(|number| message(number, 16)).collect();
    assert_eq!(spool.append(&three, 3, NOW), 1, "its segment is gone");
    spool.begin(&preamble(), NOW);
    assert_eq!(spool.append(&message(11, 16), 1, NOW), 0);
    assert_eq!(read_all(&mut spool), [11]);
}

#[test]
fn what_memory_has_let_go_is_read_again() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = filled(&root.path().join("d"), 10, 4);
    assert_eq!(read_all(&mut spool), (0..10).collect::<Vec<_>>());
    spool.release(2);
    spool.read_from(5);
    let portion = spool.read(ALL).unwrap();
    assert_eq!(numbers(&portion.learn), [999_999, 4], "for the templates in them");
    assert_eq!((portion.first, numbers(&portion.messages)), (5, vec![5, 6, 7]));
    assert_eq!(read_all(&mut spool), [8, 9]);
}

#[test]
fn a_wrong_byte_costs_the_rest_of_its_segment() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = filled(&root.path().join("d"), 10, 4);
    let first = &files(root.path())[0];
    let mut bytes = fs::read(first).unwrap();
    let place = bytes.len() - 150;
    bytes[place] ^= 1;
    fs::write(first, bytes).unwrap();
    assert_eq!(numbers(&spool.read(ALL).unwrap().messages), [0, 1]);
    assert!(spool.read(ALL).is_err());
    assert_eq!(spool.skip(), 2);
    assert_eq!(read_all(&mut spool), [4, 5, 6, 7, 8, 9]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A file that was cut anywhere gives a prefix of whole messages, and takes more behind it.
    #[test]
    fn a_cut_anywhere_leaves_a_prefix(count in 1_u64..30, each in 1_u64..10, at in 0.0_f64..1.0) {
        let root = tempfile::tempdir().unwrap();
        drop(filled(&root.path().join("d"), count, each));
        let all = files(root.path());
        let last = all.last().unwrap();
        let size = fs::metadata(last).unwrap().len();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let len = (size as f64 * at) as u64;
        OpenOptions::new().write(true).open(last).unwrap().set_len(len).unwrap();
        let whole_before = count - 1 - (count - 1) % each;
        let Some(mut spool) = recovered(root.path()) else {
            prop_assert_eq!(whole_before, 0);
            return Ok(());
        };
        let read = read_all(&mut spool);
        let expected: Vec<u64> = (0..read.len() as u64).collect();
        prop_assert_eq!(&read, &expected);
        prop_assert!(read.len() as u64 >= whole_before && (read.len() as u64) < count);
        spool.begin(&preamble(), NOW);
        let next = read.len() as u64;
        spool.append(&message(next, 50), 1, NOW);
        prop_assert_eq!(read_all(&mut spool), vec![next]);
    }

    /// Whatever is done in whatever order: what comes out is what went in, without what was dropped.
    #[test]
    fn nothing_is_lost_or_twice(steps in prop::collection::vec(0_u8..8, 1..60)) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("d");
        let mut spool = Spool::new(&dir, label(), 1);
        spool.begin(&preamble(), NOW);
        let (mut next, mut read, mut dropped) = (0, Vec::new(), 0);
        for step in steps {
            match step {
                0..=2 => {
                    let messages: Vec<u8> = (next..next + 3).flat_map(|n| message(n, 60)).collect();
                    dropped += spool.append(&messages, 3, NOW);
                    next += 3;
                }
                3 => spool.begin(&preamble(), NOW),
                4 => spool.write().unwrap(),
                5 => read.extend(numbers(&spool.read(200).unwrap().messages)),
                6 => spool.release(read.last().map_or(0, |last| last + 1)),
                _ => dropped += spool.drop_oldest(),
            }
        }
        read.extend(read_all(&mut spool));
        prop_assert!(read.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(read.len() as u64 + dropped, next);
        spool.seal();
        spool.release(next);
        prop_assert_eq!(spool.amount(), Amount::default());
        prop_assert!(spool.is_empty());
    }
}

struct Scene {
    root: TempDir,
    stats: Arc<ReceiverStats>,
    store: Store,
}

fn scene(max_mb: u64, max_hours: u32) -> Scene {
    let root = tempfile::tempdir().unwrap();
    let stats = Arc::new(ReceiverStats::default());
    let settings = config::Spool {
        dir: root.path().to_owned(),
        max_mb,
        max_hours,
        full: SpoolFull::DropOldest,
    };
    let mut store = Store::new(RECEIVER, settings, Arc::clone(&stats));
    assert_eq!(store.open().unwrap(), []);
    Scene { root, stats, store }
}

impl Scene {
    fn dropped(&self, reason: Reason) -> u64 {
        let stats = self.stats.spool(label().destination.as_deref());
        stats.drops.occurred().find(|(r, _)| *r == reason).map_or(0, |(_, count)| count)
    }
}

#[test]
fn the_oldest_of_all_sessions_make_room() {
    let mut scene = scene(1, 0);
    for round in 0..30 {
        for spool in [1, 2] {
            scene.store.begin(spool, &label(), &preamble(), NOW + round);
            scene.store.append(spool, &message(round, 50_000), 1, NOW + round);
            scene.store.write_one(spool).unwrap();
            scene.store.keep_to_size(spool);
        }
    }
    let stats = scene.stats.spool(label().destination.as_deref());
    assert!(stats.bytes.get() <= 1_000_000);
    assert_eq!(stats.messages.get() + scene.dropped(Reason::SpoolFull), 60);
    assert!((18..=20).contains(&stats.messages.get()));
    for spool in [1, 2] {
        let first = numbers(&scene.store.read(spool, ALL).unwrap().messages)[0];
        assert!(first >= 20, "the oldest went first: {first}");
    }
    let on_disk: u64 = files(&scene.root.path().join("fullflow-0"))
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert_eq!(on_disk, stats.bytes.get());
}

#[test]
fn what_is_too_old_goes() {
    let mut scene = scene(1, 2);
    for begun in [NOW, NOW + 3600] {
        scene.store.begin(1, &label(), &preamble(), begun);
        scene.store.append(1, &message(0, 100), 1, begun);
    }
    scene.store.keep_to_age(NOW + 7200);
    assert_eq!(scene.dropped(Reason::SpoolAge), 0);
    scene.store.keep_to_age(NOW + 7201);
    assert_eq!(scene.dropped(Reason::SpoolAge), 1);
}

#[test]
fn a_vanished_directory_costs_what_was_in_it_alone() {
    let mut scene = scene(1, 0);
    scene.store.begin(1, &label(), &preamble(), NOW);
    scene.store.append(1, &message(0, 100), 1, NOW);
    scene.store.write_one(1).unwrap();
    fs::remove_dir_all(scene.root.path().join("fullflow-0")).unwrap();
    scene.store.append(1, &message(1, 100), 1, NOW);
    scene.store.write_one(1).unwrap();
    assert_eq!(scene.dropped(Reason::SpoolLost), 2);
    assert_eq!(scene.store.take_closed(), [1]);
    scene.store.append(1, &message(1, 100), 1, NOW);
    assert_eq!(scene.dropped(Reason::SpoolFull), 1, "its segment is gone");
    scene.store.begin(1, &label(), &preamble(), NOW);
    scene.store.append(1, &message(2, 100), 1, NOW);
    scene.store.write_one(1).unwrap();
    let portion = scene.store.read(1, ALL).unwrap();
    assert_eq!((portion.first, numbers(&portion.messages)), (3, vec![2]), "the numbers go on");
}

#[test]
fn another_store_finds_what_one_has_left_and_not_before() {
    let mut scene = scene(1, 0);
    for spool in [5, 7] {
        scene.store.begin(spool, &label(), &preamble(), NOW);
        scene.store.append(spool, &message(spool, 100), 1, NOW);
    }
    scene.store.write().unwrap();
    scene.store.sync().unwrap();
    let settings = config::Spool {
        dir: scene.root.path().to_owned(),
        max_mb: 1,
        max_hours: 0,
        full: SpoolFull::DropOldest,
    };
    let mut other = Store::new(RECEIVER, settings, Arc::default());
    assert!(other.open().is_err(), "it is in use");
    drop(scene.store);
    // A process that another test starts at this moment has the lock as well, until it is another program.
    let deadline = Instant::now() + Duration::from_secs(20);
    let found = loop {
        match other.open() {
            Err(error) if error.kind() == ResourceBusy && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            found => break found.unwrap(),
        }
    };
    assert_eq!(found, [(5, label()), (7, label())]);
    assert_eq!(numbers(&other.read(7, ALL).unwrap().messages), [7]);
    assert_eq!(other.purge(Some("192.0.2.9/1500/tcp")), 1, "what was read has not been dropped");
    assert_eq!(files(&scene.root.path().join("fullflow-0")), [] as [PathBuf; 0]);
}
