//! Each rule of routing once, by example. Random sequences of messages, judged by an independent
//! decoder, are in the workspace's `tests`.

use std::time::{Duration, Instant};

use common::{
    message::{HEADER_LEN, Header, Sets},
    reason::Reason,
};

use super::{
    Delivery, Outlook, Payload, Refusal, Router, SessionDetails, Shape, Targets, all_targets,
    each_target,
};
use crate::config::{Mode, Protocol};

const TEMPLATE: &[u8] = &[0, 2, 0, 12, 1, 0, 0, 1, 0, 8, 0, 4];
const REDEFINED: &[u8] = &[0, 2, 0, 12, 1, 0, 0, 1, 0, 12, 0, 4];
const WITHDRAWAL: &[u8] = &[0, 2, 0, 8, 1, 0, 0, 0];
const OPTIONS_TEMPLATE: &[u8] = &[0, 3, 0, 18, 1, 1, 0, 2, 0, 1, 0, 149, 0, 4, 0, 41, 0, 4];
/// Two records of the options template.
const OPTIONS: &[u8] = &[1, 1, 0, 20, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 6];

fn data(records: u8) -> Vec<u8> {
    let body: Vec<u8> = (0..records).flat_map(|n| [10, 0, 0, n]).collect();
    [&[1, 0, 0, 4 + 4 * records][..], &body].concat()
}

fn message(sequence: u32, sets: &[&[u8]]) -> Vec<u8> {
    let body = sets.concat();
    let length = u16::try_from(HEADER_LEN + body.len()).unwrap();
    let header = Header { version: 10, length, export_time: 1, sequence, domain: 1 };
    [&header.to_bytes()[..], &body].concat()
}

/// A router with collectors that keep what they get.
struct Bench {
    router: Router,
    up: Targets,
    queued: bool,
    room: usize,
    now: Instant,
    got: Vec<Vec<Vec<u8>>>,
}

impl Bench {
    fn new(mode: Mode, input: Protocol, output: Protocol, destinations: usize) -> Bench {
        let shape = Shape {
            mode,
            input,
            outputs: vec![output; destinations],
            counts: false,
            template_seconds: 600,
            template_messages: 5000,
        };
        Bench {
            router: Router::new(shape, 0),
            up: all_targets(destinations),
            queued: false,
            room: usize::MAX,
            now: Instant::now(),
            // With Disabled one more, the dump file.
            got: vec![Vec::new(); destinations + usize::from(mode == Mode::Disabled)],
        }
    }

    /// A new dump file; the one before.
    fn begin_file(&mut self) -> Vec<Vec<u8>> {
        self.router.begin_file(SessionDetails {
            exporter: "192.0.2.1:4000".parse().unwrap(),
            collector: "192.0.2.2:1500".parse().unwrap(),
            protocol: Protocol::Tcp,
            dpi_id: 7,
        });
        self.got.last_mut().map(std::mem::take).unwrap()
    }

    fn tcp(mode: Mode, destinations: usize) -> Bench {
        Bench::new(mode, Protocol::Tcp, Protocol::Tcp, destinations)
    }

    fn try_send(&mut self, message: &[u8]) -> Result<Vec<Delivery>, Refusal> {
        let (up, queued, room, now) = (self.up, self.queued, self.room, self.now);
        let outlook = Outlook { turn: up, reachable: up, queued, room, now };
        let (mut bytes, mut deliveries) = (message.to_vec(), Vec::new());
        self.router.route(&mut bytes, &outlook, &mut deliveries)?;
        for delivery in &deliveries {
            for target in each_target(delivery.to) {
                match &delivery.payload {
                    Payload::Composed(composed) => self.got[target].push(composed.to_vec()),
                    Payload::Whole => self.got[target].push(bytes.clone()),
                    Payload::Dropped(_) | Payload::Missed => {}
                }
            }
        }
        Ok(deliveries)
    }

    fn send(&mut self, sequence: u32, sets: &[&[u8]]) {
        self.try_send(&message(sequence, sets)).unwrap();
    }

    fn numbers(&self, target: usize) -> Vec<u32> {
        self.got[target].iter().map(|m| Header::read(m).unwrap().sequence).collect()
    }

    fn set_ids(&self, target: usize) -> Vec<Vec<u16>> {
        let ids = |m: &Vec<u8>| Sets::of(m).map(|set| set.unwrap().id).collect();
        self.got[target].iter().map(ids).collect()
    }
}

#[test]
fn all_passes_every_byte_on_to_everyone() {
    let mut bench = Bench::tcp(Mode::All, 3);
    let sent = [
        message(0, &[TEMPLATE, OPTIONS_TEMPLATE]),
        message(0, &[&data(3)]),
        message(3, &[OPTIONS, &data(1)]),
        message(6, &[]),
    ];
    for message in &sent {
        bench.try_send(message).unwrap();
    }
    assert!(bench.got.iter().all(|got| *got == sent));
}

#[test]
fn round_robin_takes_strict_turns_with_continuous_numbers() {
    let mut bench = Bench::tcp(Mode::RoundRobin, 2);
    bench.send(100, &[TEMPLATE]);
    let mut sequence: u32 = 100;
    for records in [5, 1, 2, 7, 3] {
        bench.send(sequence, &[&data(records)]);
        sequence += u32::from(records);
    }
    assert_eq!(bench.set_ids(0), [[2], [256], [256], [256]]);
    assert_eq!(bench.set_ids(1), [[2], [256], [256]]);
    assert_eq!(bench.numbers(0), [0, 0, 5, 7]);
    assert_eq!(bench.numbers(1), [0, 0, 1]);
}

#[test]
fn options_data_reaches_everyone_takes_no_turn_and_counts() {
    let mut bench = Bench::tcp(Mode::RoundRobin, 2);
    bench.send(0, &[TEMPLATE, OPTIONS_TEMPLATE]);
    bench.send(0, &[&data(4)]); // to 0
    bench.send(4, &[OPTIONS]);
    bench.send(6, &[&data(1)]); // to 1
    bench.send(7, &[&data(1)]); // to 0
    assert_eq!(bench.numbers(0), [0, 0, 4, 6]);
    assert_eq!(bench.numbers(1), [0, 0, 2]);
    assert_eq!(bench.set_ids(1)[1], [257]);
}

#[test]
fn a_mixed_message_goes_whole_to_one_and_in_part_to_the_others_before_later_data() {
    let mut bench = Bench::tcp(Mode::RoundRobin, 3);
    bench.send(0, &[OPTIONS_TEMPLATE, TEMPLATE, &data(2), OPTIONS]);
    bench.send(4, &[&data(1)]);
    bench.send(5, &[&data(1)]);
    bench.send(6, &[&data(1)]);
    assert_eq!(bench.set_ids(0), [vec![3, 2, 256, 257], vec![256]]);
    assert_eq!(bench.set_ids(1), [vec![3, 2, 257], vec![256]]);
    assert_eq!((bench.numbers(0), bench.numbers(1)), (vec![0, 4], vec![0, 2]));
}

#[test]
fn a_header_alone_is_passed_on_and_takes_no_turn() {
    let mut bench = Bench::tcp(Mode::RoundRobin, 2);
    bench.send(0, &[]);
    bench.send(0, &[&data(1)]);
    bench.send(1, &[&data(1)]);
    assert_eq!((bench.got[0].len(), bench.got[1].len()), (2, 1));
}

#[test]
fn a_destination_that_is_down_is_passed_over_and_gets_templates_and_options_first() {
    let mut bench = Bench::tcp(Mode::RoundRobin, 2);
    bench.up = 0b01;
    bench.send(0, &[TEMPLATE, OPTIONS_TEMPLATE]);
    bench.send(0, &[OPTIONS]);
    bench.send(2, &[&data(1)]);
    bench.send(3, &[&data(1)]);
    assert_eq!(bench.got[0].len(), 4);
    bench.up = 0b11;
    bench.send(4, &[&data(1)]);
    bench.send(5, &[&data(1)]);
    assert_eq!(bench.set_ids(1), [vec![2, 3, 257], vec![256]]);
    // the two options records, as copies, then its first data
    assert_eq!(bench.numbers(1), [0, 2]);
}

#[test]
fn with_nobody_to_take_it_a_message_waits_and_changes_nothing() {
    let mut bench = Bench::tcp(Mode::RoundRobin, 2);
    bench.up = 0;
    let refused = bench.try_send(&message(0, &[TEMPLATE, &data(1)])).unwrap_err();
    assert_eq!(refused, Refusal::NoDestination);
    bench.up = 0b11;
    bench.send(0, &[TEMPLATE, &data(1)]);
    assert_eq!(bench.set_ids(0), [[2, 256]]);
    assert_eq!(bench.set_ids(1), [[2]]);
}

#[test]
fn all_repeats_the_state_before_the_next_message_of_a_new_connection() {
    let mut bench = Bench::tcp(Mode::All, 2);
    bench.send(10, &[TEMPLATE, OPTIONS_TEMPLATE]);
    bench.send(10, &[OPTIONS]);
    bench.send(12, &[&data(3)]);
    bench.router.reconnected(1, &[]);
    bench.send(15, &[&data(1)]);
    assert_eq!(bench.set_ids(0).len(), 4);
    assert_eq!(bench.set_ids(1)[3..], [vec![2, 3, 257], vec![256]]);
    // two repeated records stand before the number of the next message
    assert_eq!(bench.numbers(1)[3..], [13, 15]);
}

#[test]
fn the_preamble_of_a_queue_is_of_the_time_of_its_first_message() {
    let mut bench = Bench::tcp(Mode::All, 1);
    bench.queued = true;
    bench.send(0, &[TEMPLATE]);
    let waiting = message(0, &[&data(1)]);
    let deliveries = bench.try_send(&message(1, &[REDEFINED])).unwrap();
    let before = deliveries[0].before.clone().unwrap();
    let head = Header::read(&waiting).unwrap();
    let (old, _) = bench.router.preamble(0, &head, Some(&before));
    let (new, _) = bench.router.preamble(0, &head, None);
    assert_eq!(old[0][HEADER_LEN..], *TEMPLATE);
    assert_eq!(new[0][HEADER_LEN..], *REDEFINED);
}

#[test]
fn withdrawn_templates_are_not_repeated_but_over_udp_withdrawals_mean_nothing() {
    for (input, repeated) in [(Protocol::Tcp, 0), (Protocol::Udp, 1)] {
        let mut bench = Bench::new(Mode::All, input, Protocol::Tcp, 1);
        bench.send(0, &[TEMPLATE]);
        bench.send(0, &[WITHDRAWAL]);
        bench.router.reconnected(0, &[]);
        bench.send(0, &[]);
        assert_eq!(bench.got[0].len(), 3 + repeated, "{input}");
        assert_eq!(bench.got[0][1][HEADER_LEN..], *WITHDRAWAL);
    }
}

#[test]
fn a_redefinition_over_udp_becomes_a_withdrawal_and_a_definition_over_tcp() {
    for mode in [Mode::All, Mode::RoundRobin] {
        let mut bench = Bench::new(mode, Protocol::Udp, Protocol::Tcp, 2);
        bench.send(0, &[TEMPLATE]);
        bench.send(0, &[TEMPLATE]);
        bench.send(0, &[REDEFINED]);
        for got in &bench.got {
            assert_eq!(got.len(), 4, "{mode}");
            assert_eq!(got[2][HEADER_LEN..], *WITHDRAWAL);
            assert_eq!(got[3][HEADER_LEN..], *REDEFINED);
        }
    }
}

#[test]
fn templates_are_repeated_on_udp_outputs_fed_by_tcp() {
    let mut bench = Bench::new(Mode::All, Protocol::Tcp, Protocol::Udp, 1);
    bench.send(0, &[TEMPLATE]);
    bench.send(0, &[&data(1)]);
    bench.now += Duration::from_secs(600);
    bench.send(1, &[&data(1)]);
    assert_eq!(bench.set_ids(0), [[2], [256], [2], [256]]);
    let before = bench.got[0].len();
    for sequence in 2..10_002 {
        bench.send(sequence, &[&data(1)]);
    }
    assert_eq!(bench.got[0].len() - before, 10_000 + 2);
}

#[test]
fn a_message_too_large_for_a_datagram_is_split_on_records() {
    for mode in [Mode::All, Mode::RoundRobin] {
        let mut bench = Bench::new(mode, Protocol::Tcp, Protocol::Udp, 1);
        bench.router.set_limit(0, 100);
        bench.send(50, &[TEMPLATE]);
        bench.send(50, &[&data(60)]);
        bench.send(110, &[&data(1)]);
        let first = if mode == Mode::All { 50 } else { 0 };
        assert_eq!(bench.numbers(0), [0, 0, 20, 40, 60].map(|n| n + first), "{mode}");
        assert!(bench.got[0].iter().all(|m| m.len() <= 100));
    }
}

#[test]
fn what_cannot_be_split_leaves_in_ip_fragments() {
    let mut bench = Bench::new(Mode::All, Protocol::Tcp, Protocol::Udp, 1);
    bench.router.set_limit(0, 100);
    let unknown = message(0, &[&data(60)]);
    bench.try_send(&unknown).unwrap();
    assert_eq!(bench.got[0], [unknown]);
}

#[test]
fn malformed_messages_are_refused_and_teach_nothing() {
    let mut bench = Bench::tcp(Mode::RoundRobin, 1);
    let overrun = [0, 2, 0, 12, 1, 0, 0, 9, 0, 8, 0, 4];
    let refusal = bench.try_send(&message(0, &[TEMPLATE, &overrun])).unwrap_err();
    assert!(matches!(refusal, Refusal::Drop(_)));
    bench.router.reconnected(0, &[]);
    bench.send(0, &[&data(1)]);
    assert_eq!(bench.set_ids(0), [[256]]);
}

#[test]
fn a_reload_keeps_numbers_and_brings_new_destinations_up_to_date() {
    let mut bench = Bench::tcp(Mode::RoundRobin, 2);
    bench.send(0, &[TEMPLATE]);
    bench.send(0, &[&data(3)]); // to 0
    bench.send(3, &[&data(4)]); // to 1, credited when the next comes
    let shape = Shape { outputs: vec![Protocol::Tcp; 3], ..bench.router.shape().clone() };
    // a new destination, then the old second, then the old first
    bench.router.reconfigure(shape, &[None, Some(1), Some(0)]);
    bench.up = 0b111;
    bench.got = vec![Vec::new(); 3];
    for sequence in 7..10 {
        bench.send(sequence, &[&data(1)]);
    }
    assert_eq!(bench.set_ids(0), [[2], [256]]);
    assert_eq!(bench.numbers(0), [0, 0]);
    assert_eq!((bench.numbers(1), bench.numbers(2)), (vec![4], vec![3]));
}

#[test]
fn domains_and_templates_are_bounded() {
    let mut bench = Bench::tcp(Mode::All, 1);
    let mut refused = 0;
    for domain in 0..=u32::try_from(super::MAX_DOMAINS).unwrap() {
        let mut bytes = message(0, &[&data(1)]);
        bytes[12..16].copy_from_slice(&domain.to_be_bytes());
        refused += u32::from(bench.try_send(&bytes).is_err());
    }
    assert_eq!(refused, 1);

    let mut bench = Bench::tcp(Mode::All, 1);
    let fields = [0, 8, 0, 4].repeat(16_000);
    let refused = (256..=u16::MAX).find(|id| {
        let length = u16::try_from(8 + fields.len()).unwrap().to_be_bytes();
        let id = id.to_be_bytes();
        let head = [0, 2, length[0], length[1], id[0], id[1], 0x3e, 0x80];
        bench.try_send(&message(0, &[&head, &fields])).is_err()
    });
    let kept = usize::from(refused.unwrap() - 256);
    assert!(kept * fields.len() <= super::MAX_TEMPLATE_BYTES, "{kept}");
}

#[test]
fn what_other_sessions_have_taken_is_not_there_for_this_one() {
    let mut bench = Bench::tcp(Mode::All, 1);
    bench.room = 0;
    let refused = |bench: &mut Bench, bytes: &[u8]| bench.try_send(bytes).unwrap_err();
    let first = message(0, &[&data(1)]);
    assert_eq!(refused(&mut bench, &first), Refusal::Drop(Reason::DomainLimit));
    bench.room = 4096;
    bench.send(0, &[TEMPLATE, OPTIONS_TEMPLATE]);
    let taken = bench.router.take_resized().unwrap();
    assert!(taken > TEMPLATE.len() + OPTIONS_TEMPLATE.len());
    assert_eq!(bench.router.take_resized(), None);

    bench.room = 0;
    // What is known already needs no room, nor does a definition of the same length.
    bench.send(0, &[TEMPLATE]);
    bench.send(0, &[REDEFINED]);
    bench.send(0, &[&data(1)]);
    let another = [0, 2, 0, 12, 1, 9, 0, 1, 0, 8, 0, 4];
    let another = message(1, &[&another]);
    assert_eq!(refused(&mut bench, &another), Refusal::Drop(Reason::TemplateLimit));
    // Both records are passed on, and not kept.
    bench.send(1, &[OPTIONS]);
    assert_eq!(bench.router.take_not_kept(), 2);
    assert_eq!(bench.router.take_resized(), Some(taken));
}

#[test]
fn a_dump_file_opens_with_the_session_then_templates_and_options_then_messages_as_they_came() {
    let mut bench = Bench::tcp(Mode::Disabled, 0);
    bench.begin_file();
    let sent = [
        message(0, &[TEMPLATE, OPTIONS_TEMPLATE]),
        message(0, &[OPTIONS, &data(3)]),
        message(5, &[&data(1)]),
        message(6, &[&data(2)]),
    ];
    for message in &sent[..2] {
        bench.try_send(message).unwrap();
    }
    let first = bench.begin_file();
    assert_eq!(first[1..], sent[..2]);
    assert!(first[0].ends_with(&[0, 0, 0, 7]));
    for message in &sent[2..] {
        bench.try_send(message).unwrap();
    }
    let second = bench.begin_file();
    assert_eq!(second[1..], sent[2..]);
    let sets: Vec<_> = Sets::of(&second[0]).map(|set| set.unwrap().id).collect();
    assert_eq!(sets, [3, 2, 3, 65_535, 257]);
    // The session and two options records, numbered to end where the exporter goes on.
    assert_eq!(Header::read(&second[0]).unwrap().sequence, 2);
}

#[test]
fn a_file_gets_no_withdrawal_that_the_exporter_did_not_send() {
    let mut bench = Bench::new(Mode::Disabled, Protocol::Udp, Protocol::Tcp, 1);
    bench.begin_file();
    bench.send(0, &[TEMPLATE]);
    bench.send(0, &[REDEFINED]);
    assert_eq!(bench.set_ids(1), [vec![3, 65_535], vec![2], vec![2]]);
    assert_eq!(bench.set_ids(0), [[2], [2], [2]]);
}

#[test]
fn copies_of_what_is_recorded_go_out_each_by_its_own_protocol() {
    let mut bench = Bench::tcp(Mode::Disabled, 2);
    let outputs = vec![Protocol::Udp, Protocol::Tcp];
    let shape = Shape { outputs, ..bench.router.shape().clone() };
    bench.router.reconfigure(shape, &[None, None, None]);
    bench.router.set_limit(0, 60);
    bench.begin_file();
    bench.send(0, &[TEMPLATE]);
    let large = message(0, &[&data(20)]);
    bench.try_send(&large).unwrap();
    assert!(bench.got[0].len() == 3 && bench.got[0].iter().all(|message| message.len() <= 60));
    assert_eq!(bench.got[1].last(), Some(&large));
    assert_eq!(bench.got[2].last(), Some(&large));
}
