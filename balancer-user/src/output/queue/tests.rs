use std::time::Instant;

use super::*;
use crate::{
    config::{Mode, Protocol},
    session::{Outlook, Router, Shape},
};

fn message(domain: u32, sequence: u32, len: u16) -> Vec<u8> {
    let header = Header { version: 10, length: len, export_time: 0, sequence, domain };
    let mut bytes = header.to_bytes().to_vec();
    bytes.resize(usize::from(len), 0);
    bytes
}

fn entry(bytes: Vec<u8>, messages: u32) -> Entry {
    let bytes: Bytes = bytes.into();
    let domain = Header::read(&bytes).map_or(0, |header| header.domain);
    Entry {
        bytes,
        messages,
        domain,
        control: false,
        turn: false,
        preamble: false,
        spooled: None,
        before: None,
        borrowed: true,
    }
}

fn sequences(queue: &Queue) -> Vec<u32> {
    queue.pieces().flat_map(headers).map(|header| header.sequence).collect()
}

#[test]
fn bytes_are_written_in_any_portion_and_messages_count_when_complete() {
    let mut queue = Queue::default();
    queue.push(entry(message(1, 0, 20), 1));
    queue.push(entry(message(1, 5, 30), 1));
    assert_eq!(queue.advance_bytes(25), Left { messages: 1, bytes: 25 });
    assert_eq!(queue.pieces().map(<[u8]>::len).collect::<Vec<_>>(), [25]);
    assert_eq!(queue.advance_bytes(25), Left { messages: 1, bytes: 25 });
    assert!(queue.is_written());
    assert_eq!((queue.bytes(), queue.outstanding(), queue.messages()), (50, 50, 2));
}

#[test]
fn what_was_written_is_kept_until_it_is_acknowledged_and_read() {
    let mut queue = Queue::default();
    for sequence in 0..4 {
        queue.push(entry(message(1, sequence, 20), 1));
    }
    queue.advance_bytes(70);
    queue.acknowledge(45, 0);
    assert_eq!((queue.bytes(), queue.outstanding(), queue.messages()), (60, 55, 3));
    queue.acknowledge(5, 40);
    assert_eq!((queue.bytes(), queue.outstanding(), queue.messages()), (60, 15, 1));
    queue.acknowledge(0, 0);
    assert_eq!((queue.bytes(), queue.outstanding()), (20, 10), "of the last one half is written");
    queue.advance_bytes(10);
    queue.acknowledge(0, 0);
    assert!(queue.is_empty());
}

#[test]
fn what_was_not_acknowledged_waits_again_whole() {
    let mut queue = Queue::default();
    for sequence in 0..4 {
        queue.push(entry(message(1, sequence, 20), 1));
    }
    queue.advance_bytes(65);
    queue.acknowledge(35, 0);
    let broken = queue.restart(0);
    assert_eq!((broken.arrived, broken.again), (0, 2));
    assert_eq!(sequences(&queue), [1, 2, 3]);
    assert_eq!((queue.outstanding(), queue.messages()), (60, 3));
}

#[test]
fn what_may_not_have_been_read_waits_again_as_well() {
    let mut queue = Queue::default();
    for sequence in 0..4 {
        queue.push(entry(message(1, sequence, 20), 1));
    }
    queue.advance_bytes(80);
    queue.acknowledge(0, 30);
    assert_eq!(queue.restart(30).again, 2);
    assert_eq!(sequences(&queue), [2, 3]);
}

#[test]
fn whole_messages_of_a_run_that_have_arrived_are_not_sent_again() {
    let run = || [message(1, 0, 20), message(1, 1, 20), message(1, 2, 20)].concat();
    let mut queue = Queue::default();
    queue.push(entry(run(), 3));
    queue.advance_bytes(45);
    queue.acknowledge(5, 0);
    let broken = queue.restart(0);
    assert_eq!((broken.arrived, broken.again), (2, 0), "the run was not counted yet");
    assert_eq!((sequences(&queue), queue.bytes()), (vec![2], 20));
    let mut queue = Queue::default();
    queue.push(entry(run(), 3));
    queue.advance_bytes(60);
    queue.acknowledge(25, 0);
    let broken = queue.restart(0);
    assert_eq!((broken.arrived, broken.again), (0, 2));
    assert_eq!(sequences(&queue), [1, 2]);
}

#[test]
fn heads_are_the_first_messages_of_each_domain_in_runs_too() {
    let mut queue = Queue::default();
    queue.push(entry([message(1, 7, 20), message(2, 8, 20)].concat(), 2));
    queue.push(entry(message(1, 9, 20), 1));
    let heads: Vec<_> = queue.heads().iter().map(|(h, _)| (h.domain, h.sequence)).collect();
    assert_eq!(heads, [(1, 7), (2, 8)]);
}

#[test]
fn renumbering_touches_one_domain() {
    let mut queue = Queue::default();
    queue.push(entry(message(1, 7, 20), 1));
    queue.push(entry(message(2, 7, 20), 1));
    queue.renumber(1, 3);
    let numbers: Vec<_> = queue.pieces().map(|m| Header::read(m).unwrap().sequence).collect();
    assert_eq!(numbers, [10, 7]);
}

#[test]
fn few_borrowed_bytes_are_copied_many_are_not() {
    let buffer = Bytes::from(message(1, 0, 400));
    for (size, copied) in [(4000, true), (1000, false)] {
        let mut queue = Queue::default();
        queue.push(entry(message(1, 0, 20), 1));
        queue.settle(Some(0));
        queue.push(Entry { bytes: buffer.clone(), ..entry(Vec::new(), 1) });
        queue.settle(Some(size));
        let kept = queue.pieces().nth(1).unwrap();
        assert_eq!(kept, buffer);
        assert_eq!(kept.as_ptr() != buffer.as_ptr(), copied);
    }
}

#[test]
fn what_was_written_keeps_its_buffer_for_a_while_if_it_may() {
    let buffer = Bytes::from(message(1, 0, 400));
    for (size, copied) in [(Some(1 << 20), false), (None, true)] {
        let mut queue = Queue::default();
        queue.push(Entry { bytes: buffer.clone(), ..entry(Vec::new(), 1) });
        queue.advance_bytes(400);
        queue.settle(size);
        assert_eq!(queue.entries[0].bytes.as_ptr() != buffer.as_ptr(), copied);
        queue.copy();
        assert_ne!(queue.entries[0].bytes.as_ptr(), buffer.as_ptr());
    }
}

/// What a router of RoundRobin with three destinations gives the first of them of `count` messages, and
/// what it thinks of it.
fn turns(router: &mut Router, count: u32) -> Queue {
    let outlook =
        Outlook { turn: 7, reachable: 7, queued: true, room: usize::MAX, now: Instant::now() };
    let mut queue = Queue::default();
    for sequence in 0..count {
        let mut message = [&message(1, sequence * 2, 28)[..16], &[1, 0, 0, 12], &[0; 8]].concat();
        let mut deliveries = Vec::new();
        router.route(&mut message, &outlook, &mut deliveries).unwrap();
        if deliveries.iter().any(|delivery| delivery.to == 1) {
            queue.push(Entry { turn: true, ..entry(message, 1) });
        }
    }
    queue
}

fn router() -> Router {
    let shape = Shape {
        mode: Mode::RoundRobin,
        input: Protocol::Tcp,
        outputs: vec![Protocol::Tcp; 3],
        counts: false,
        template_seconds: 0,
        template_messages: 0,
    };
    Router::new(shape, 0)
}

#[test]
fn turns_are_taken_with_their_records_and_numbers_close_up() {
    let mut router = router();
    let mut queue = turns(&mut router, 10);
    assert_eq!(sequences(&queue), [0, 2, 4, 6]);
    let (bytes, memory) = (queue.bytes(), queue.memory());
    // The exporter's tenth message is this destination's, and nobody knows how much it holds.
    let taken = queue.take_turns(&mut router, 0, |router, entry| {
        assert!(!router.is_settled(1, 0) && router.is_settled(1, 1));
        let number = Header::read(&entry.bytes).unwrap().sequence;
        [2, 6].contains(&number).then_some(1)
    });
    let taken: Vec<_> = taken.iter().map(|taken| (taken.records, taken.to)).collect();
    assert_eq!(taken, [(Some(2), 1), (None, 1)]);
    assert_eq!(sequences(&queue), [0, 2]);
    assert_eq!(router.next_number(1, 0), Some(4));
    assert_eq!((queue.bytes(), queue.memory()), (bytes / 2, memory / 2));
}

#[test]
fn what_is_older_than_a_redefinition_is_not_taken() {
    let mut router = router();
    let mut queue = turns(&mut router, 10);
    let before = before();
    let memory = queue.memory();
    queue.keep_before(&before);
    queue.keep_before(&before);
    assert_eq!(queue.memory(), memory + before.bytes(), "the older one stays");
    for entry in turns(&mut router, 3).entries {
        queue.push(entry);
    }
    let taken = queue.take_turns(&mut router, 0, |_, _| Some(1));
    assert_eq!((taken.len(), queue.messages()), (1, 4));
    assert_eq!(queue.heads()[0].1.as_ref().map(|before| before.domain), Some(1));
}

/// What a domain had defined before a template was withdrawn.
fn before() -> Before {
    let mut router = router();
    let outlook =
        Outlook { turn: 7, reachable: 7, queued: true, room: usize::MAX, now: Instant::now() };
    let mut before = None;
    for set in [&[0, 2, 0, 12, 1, 0, 0, 1, 0, 8, 0, 4][..], &[0, 2, 0, 8, 1, 0, 0, 0]] {
        let length = u16::try_from(16 + set.len()).unwrap();
        let mut message = [&message(1, 0, length)[..16], set].concat();
        let mut deliveries = Vec::new();
        router.route(&mut message, &outlook, &mut deliveries).unwrap();
        before = deliveries.first().and_then(|delivery| delivery.before.clone());
    }
    before.unwrap()
}
