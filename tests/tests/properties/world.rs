//! The router between an exporter and collectors, with the real queues but without sockets.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use balancer_user::{
    config::{Mode, Protocol},
    input::frame::next_in_stream,
    output::{Entry, Queue, Taken},
    session::{Delivery, Outlook, Payload, Router, Shape, all_targets, bit, each_target},
};
use bytes::Bytes;
use common::message::Header;
use ipfix_balancer_tests::{
    decode::{self, Decoded, Problem, Record, Tally},
    wire,
};
use netflow_parser::{NetflowPacket, NetflowParser, variable_versions::ipfix::FlowSetBody};
use proptest::{prelude::*, test_runner::TestCaseError};

use super::exporter::{DOMAINS, Domain, Event};

/// Messages in a queue that is full.
const FULL: u64 = 5;

type Verdict = Result<(), TestCaseError>;

#[derive(Clone, Debug)]
pub struct Setting {
    pub mode: Mode,
    pub input: Protocol,
    pub output: Protocol,
    pub destinations: usize,
    /// The longest datagram, on UDP outputs.
    pub limit: usize,
    pub first_sequence: u32,
    /// `TEMPLATE_MESSAGES`.
    pub refresh: u32,
}

struct Collector {
    up: bool,
    stalled: bool,
    queue: Queue,
    /// What it got, transport session by transport session.
    sessions: Vec<Vec<Vec<u8>>>,
}

pub struct World {
    setting: Setting,
    router: Router,
    /// What a daemon's journal would have of the router.
    journal: Router,
    domains: Vec<Domain>,
    collectors: Vec<Collector>,
    /// Bytes of the TCP stream that have not made a message yet.
    stream: Vec<u8>,
    sent: Vec<Vec<u8>>,
    lost: BTreeMap<u32, (u32, usize)>,
    /// Who could take turns, and who got the flow message.
    turns: Vec<(u64, usize)>,
}

impl World {
    pub fn new(setting: Setting) -> World {
        let shape = Shape {
            mode: setting.mode,
            input: setting.input,
            outputs: vec![setting.output; setting.destinations],
            counts: false,
            template_seconds: 600,
            template_messages: setting.refresh,
        };
        let mut router = Router::new(shape.clone(), 0);
        for target in 0..setting.destinations {
            router.set_limit(target, setting.limit);
        }
        let withdrawals = setting.input == Protocol::Tcp;
        let domains = (0..DOMAINS)
            .map(|id| Domain::new(u32::try_from(id).unwrap(), setting.first_sequence, withdrawals))
            .collect();
        let collectors = (0..setting.destinations)
            .map(|_| Collector {
                up: true,
                stalled: false,
                queue: Queue::default(),
                sessions: vec![Vec::new()],
            })
            .collect();
        World {
            setting,
            router,
            journal: Router::new(shape, 0),
            domains,
            collectors,
            stream: Vec::new(),
            sent: Vec::new(),
            lost: BTreeMap::new(),
            turns: Vec::new(),
        }
    }

    // ---- what happens ----

    pub fn happen(&mut self, event: &Event) {
        match *event {
            Event::Break { destination } => self.break_connection(destination),
            Event::Return { destination } => self.reconnect(destination),
            Event::Stall { destination } => {
                let destination = destination % self.setting.destinations;
                self.collectors[destination].stalled = true;
            }
            Event::Resume { destination } => {
                let destination = destination % self.setting.destinations;
                self.collectors[destination].stalled = false;
                self.drain(destination);
            }
            Event::Restart { in_order } => self.restart(in_order),
            Event::Flow { domain, .. }
            | Event::LostFlow { domain, .. }
            | Event::Mixed { domain, .. }
            | Event::Options { domain, .. }
            | Event::Templates { domain }
            | Event::Redefine { domain, .. }
            | Event::Withdraw { domain, .. }
            | Event::Empty { domain } => self.export(domain, event),
        }
    }

    fn export(&mut self, domain: usize, event: &Event) {
        if let Event::LostFlow { records, .. } = event {
            // Before the first message nobody can tell that something was lost.
            if !self.sent.iter().any(|m| wire::domain(m) == Some(self.domains[domain].id)) {
                return;
            }
            let lost = self.lost.entry(self.domains[domain].id).or_default();
            lost.0 = lost.0.wrapping_add(u32::try_from(*records).unwrap());
            lost.1 += 1;
        }
        if let Some(message) = self.domains[domain].act(event) {
            self.receive(&message);
        }
    }

    /// Cuts the message out of a TCP stream that comes in three pieces, or takes the datagram.
    fn receive(&mut self, message: &[u8]) {
        self.sent.push(message.to_vec());
        if self.setting.input == Protocol::Udp {
            return self.route(message);
        }
        let (one, two) = (message.len() / 3, message.len() - 1);
        for piece in [&message[..one], &message[one..two], &message[two..]] {
            self.stream.extend_from_slice(piece);
            while let Some(len) = next_in_stream(&self.stream).unwrap() {
                let whole: Vec<u8> = self.stream.drain(..len).collect();
                self.route(&whole);
            }
        }
    }

    fn route(&mut self, message: &[u8]) {
        let mut outlook =
            Outlook { turn: 0, reachable: 0, queued: false, room: usize::MAX, now: Instant::now() };
        let mut full = 0;
        for (target, collector) in self.collectors.iter().enumerate() {
            let waiting = !collector.queue.is_empty();
            outlook.turn |= if collector.up { bit(target) } else { 0 };
            outlook.reachable |= if collector.up || waiting { bit(target) } else { 0 };
            outlook.queued |= waiting || !collector.up;
            full |= if collector.queue.messages() >= FULL { bit(target) } else { 0 };
        }
        if outlook.turn & !full != 0 {
            outlook.turn &= !full;
            outlook.reachable &= !full;
        }
        let (mut bytes, mut deliveries) = (message.to_vec(), Vec::new());
        self.router.route(&mut bytes, &outlook, &mut deliveries).unwrap();
        if self.router.take_changed() {
            self.journal.relearn(&self.router.lesson(message).unwrap());
        }
        self.note_turn(message, &deliveries, outlook.turn);
        let whole = Bytes::from(bytes);
        for delivery in deliveries {
            for target in each_target(delivery.to) {
                if delivery.payload == Payload::Missed {
                    self.collectors[target].queue.keep_before(delivery.before.as_ref().unwrap());
                    continue;
                }
                let mut entry = entry(&delivery, &whole);
                entry.turn =
                    self.setting.mode == Mode::RoundRobin && delivery.payload == Payload::Whole;
                self.collectors[target].queue.push(entry);
                self.drain(target);
            }
        }
    }

    fn note_turn(&mut self, message: &[u8], deliveries: &[Delivery], available: u64) {
        let decoded = self.sets(message);
        let whole = deliveries.iter().rev().find(|d| d.to.count_ones() == 1);
        if decoded && let Some(last) = whole {
            self.turns.push((available, each_target(last.to).next().unwrap()));
        }
    }

    /// Whether the message has flow data: the exporter's ids for it are 256 and 257.
    fn sets(&self, message: &[u8]) -> bool {
        wire::sets(message).unwrap().iter().any(|(id, _)| (256..300).contains(id))
    }

    /// Another router goes on, with what was saved at the end, or with what was noted all the time.
    fn restart(&mut self, in_order: bool) {
        if in_order {
            let saved = postcard::to_stdvec(&self.router.save()).unwrap();
            self.router = Router::restore(&postcard::from_bytes(&saved).unwrap());
            self.journal = Router::restore(&self.router.save());
        } else {
            self.journal.renumber(&self.router.numbers());
            self.router = Router::restore(&self.journal.save());
        }
        for target in 0..self.setting.destinations {
            self.router.set_limit(target, self.setting.limit);
        }
    }

    fn drain(&mut self, target: usize) {
        let collector = &mut self.collectors[target];
        if !collector.up || collector.stalled {
            return;
        }
        let messages: Vec<Vec<u8>> = collector.queue.pieces().map(<[u8]>::to_vec).collect();
        collector.queue.advance_entries(messages.len());
        collector.sessions.last_mut().unwrap().extend(messages);
    }

    fn break_connection(&mut self, destination: usize) {
        let destination = destination % self.setting.destinations;
        let others = self.collectors.iter().filter(|collector| collector.up).count();
        if self.collectors[destination].up && others > 1 {
            self.collectors[destination].up = false;
            self.fail_over(destination);
        }
    }

    /// RoundRobin: others get what was the turn of a destination that is down, as far as they can.
    fn fail_over(&mut self, from: usize) {
        let others = (1..self.setting.destinations).map(|n| (from + n) % self.setting.destinations);
        let takers: Vec<usize> = others.filter(|other| self.collectors[*other].up).collect();
        for domain in self.collectors[from].queue.domains() {
            for taker in &takers {
                if let Some(last) = self.collectors[*taker].queue.last_of(domain) {
                    self.router.settle(*taker, last);
                }
            }
        }
        let mut turns = takers.iter().copied().cycle();
        let queue = &mut self.collectors[from].queue;
        let taken = queue.take_turns(&mut self.router, from, |router, entry| {
            let able = |taker: &usize| {
                router.is_settled(entry.domain, *taker)
                    && router.can_give_again(*taker, &entry.bytes)
            };
            turns.by_ref().take(takers.len()).find(able)
        });
        for Taken { mut entry, records, to } in taken {
            let header = Header::read(&entry.bytes).unwrap();
            let (ahead, number) = self.router.give_again(to, &header, records);
            entry.set_number(number);
            let queue = &mut self.collectors[to].queue;
            ahead.into_iter().for_each(|state| queue.push(Entry::state(header.domain, state)));
            queue.push(entry);
            self.drain(to);
        }
    }

    fn reconnect(&mut self, destination: usize) {
        let target = destination % self.setting.destinations;
        let collector = &mut self.collectors[target];
        if collector.up {
            return;
        }
        collector.up = true;
        collector.sessions.push(Vec::new());
        collector.queue.resume(&mut self.router, target);
        self.drain(target);
        for other in 0..self.setting.destinations {
            if !self.collectors[other].up {
                self.fail_over(other);
            }
        }
    }

    /// Everyone comes back, and gets one more message of each domain.
    pub fn settle(&mut self) {
        for target in 0..self.setting.destinations {
            self.collectors[target].stalled = false;
            self.reconnect(target);
            self.drain(target);
        }
        for domain in 0..DOMAINS {
            for _ in 0..self.setting.destinations {
                let event = Event::Flow { domain, template: 0, records: 1 };
                self.export(domain, &event);
            }
        }
    }

    // ---- what must hold ----

    fn decoded(&self) -> impl Iterator<Item = (usize, Decoded)> {
        self.collectors.iter().enumerate().flat_map(|(target, collector)| {
            collector.sessions.iter().map(move |session| (target, decode::session(session)))
        })
    }

    pub fn check_decodable(&self) -> Verdict {
        for (target, decoded) in self.decoded() {
            let serious = |problem: &&Problem| !matches!(problem, Problem::Sequence { .. });
            let problem = decoded.problems.iter().find(serious);
            prop_assert!(problem.is_none(), "collector {target}: {}", problem.unwrap());
        }
        for collector in &self.collectors {
            for session in &collector.sessions {
                let ours = decode::session(session).records.len();
                prop_assert_eq!(second_opinion(session), ours, "netflow_parser disagrees");
            }
        }
        Ok(())
    }

    pub fn check_every_flow_once(&self) -> Verdict {
        let sent = self.sent_records();
        let got: Vec<Decoded> = self.decoded().map(|(_, decoded)| decoded).collect();
        let tally = Tally::of(got.iter().flat_map(Decoded::flows));
        let difference = Tally::of(sent.flows()).difference(&tally);
        prop_assert!(difference.is_none(), "{difference}");
        Ok(())
    }

    pub fn check_every_flow_everywhere(&self) -> Verdict {
        let sent = self.sent_records();
        for target in 0..self.collectors.len() {
            let got: Vec<Decoded> =
                self.decoded().filter(|(of, _)| *of == target).map(|(_, d)| d).collect();
            let tally = Tally::of(got.iter().flat_map(Decoded::flows));
            let difference = Tally::of(sent.flows()).difference(&tally);
            prop_assert!(difference.is_none(), "collector {target}: {difference}");
        }
        Ok(())
    }

    /// The exporter's own messages arrive in their order and unchanged, unless they were split;
    /// between them stand messages that the balancer composed.
    pub fn check_bytes(&self) -> Verdict {
        if self.setting.output == Protocol::Udp && self.setting.limit < usize::MAX {
            return Ok(());
        }
        for collector in &self.collectors {
            let mut got = collector.sessions.iter().flatten();
            for (place, message) in self.sent.iter().enumerate() {
                prop_assert!(got.any(|m| m == message), "message {place} is missing");
            }
        }
        Ok(())
    }

    /// Continuous over all of a destination's transport sessions; gaps add up to what was lost.
    pub fn check_numbers(&self) -> Verdict {
        let mut gaps: BTreeMap<u32, (u32, usize)> = BTreeMap::new();
        let mut ends: BTreeMap<u32, u32> = BTreeMap::new();
        for collector in &self.collectors {
            let mut next: HashMap<u32, u32> = HashMap::new();
            for decoded in collector.sessions.iter().map(decode::session) {
                for problem in &decoded.problems {
                    if let Problem::Sequence { domain, expected, found, .. } = problem {
                        note_gap(&mut gaps, *domain, *expected, *found);
                    }
                }
                for (domain, counts) in &decoded.domains {
                    let expected = next.get(domain).copied().unwrap_or(0);
                    note_gap(&mut gaps, *domain, expected, counts.first_sequence);
                    next.insert(*domain, counts.next_sequence.unwrap());
                }
            }
            for (domain, end) in next {
                let sum = ends.entry(domain).or_default();
                *sum = sum.wrapping_add(end);
            }
        }
        for (domain, (records, bursts)) in &gaps {
            let lost = self.lost.get(domain).copied().unwrap_or_default();
            prop_assert!(*bursts <= lost.1, "{bursts} gaps for {} losses", lost.1);
            prop_assert_eq!(*records, lost.0, "gaps add up to what was lost");
        }
        for (domain, lost) in &self.lost {
            let shown = gaps.get(domain).copied().unwrap_or_default();
            prop_assert_eq!(shown.0, lost.0, "what was lost shows");
        }
        self.check_sums(&ends)
    }

    /// The numbers add up to the exporter's count plus the copies of options records.
    fn check_sums(&self, ends: &BTreeMap<u32, u32>) -> Verdict {
        let got: Vec<Decoded> = self.decoded().map(|(_, decoded)| decoded).collect();
        let sent = self.sent_records();
        for (domain, end) in ends {
            let options = |d: &Decoded| d.domains.get(domain).map_or(0, |counts| counts.options);
            let copies = got.iter().map(options).sum::<usize>() - options(&sent);
            let exporter = &self.domains[usize::try_from(*domain).unwrap()];
            let count = exporter.sequence.wrapping_sub(self.setting.first_sequence);
            let expected = count.wrapping_add(u32::try_from(copies).unwrap());
            prop_assert_eq!(*end, expected, "domain {}", domain);
        }
        Ok(())
    }

    /// Of any run of flow messages with the same destinations available, each gets its share.
    pub fn check_turns(&self) -> Verdict {
        let mut counts: HashMap<usize, usize> = HashMap::new();
        let mut before = 0;
        for (available, target) in &self.turns {
            if *available != before {
                counts.clear();
                before = *available;
            }
            *counts.entry(*target).or_default() += 1;
            let share = |target| counts.get(&target).copied().unwrap_or(0);
            let shares: Vec<usize> = each_target(available & all_targets(64)).map(share).collect();
            let (least, most) = (shares.iter().min(), shares.iter().max());
            prop_assert!(most.unwrap() - least.unwrap() <= 1, "{shares:?}");
        }
        Ok(())
    }

    /// In its last transport session every collector has had the latest record of every scope.
    pub fn check_options(&self) -> Verdict {
        let sent = self.sent_records();
        let mut latest: BTreeMap<(u32, Vec<u8>), &Record> = BTreeMap::new();
        for record in sent.options() {
            latest.insert((record.domain, record.values[..4].to_vec()), record);
        }
        for (target, collector) in self.collectors.iter().enumerate() {
            let decoded = decode::session(collector.sessions.last().unwrap());
            for record in latest.values() {
                let last = decoded
                    .options()
                    .filter(|r| r.domain == record.domain && r.values[..4] == record.values[..4]);
                prop_assert_eq!(last.last(), Some(*record), "collector {}", target);
            }
        }
        Ok(())
    }

    fn sent_records(&self) -> Decoded {
        decode::session(&self.sent)
    }
}

fn note_gap(gaps: &mut BTreeMap<u32, (u32, usize)>, domain: u32, expected: u32, found: u32) {
    if expected != found {
        let gap = gaps.entry(domain).or_default();
        gap.0 = gap.0.wrapping_add(found.wrapping_sub(expected));
        gap.1 += 1;
    }
}

fn entry(delivery: &Delivery, whole: &Bytes) -> Entry {
    let bytes = match &delivery.payload {
        Payload::Whole => whole.clone(),
        Payload::Composed(bytes) => bytes.clone(),
        Payload::Dropped(_) | Payload::Missed => panic!("{:?}", delivery.payload),
    };
    Entry {
        bytes,
        messages: 1,
        domain: delivery.domain,
        control: delivery.control,
        turn: false,
        preamble: false,
        spooled: None,
        before: delivery.before.clone(),
        borrowed: false,
    }
}

/// Records that `netflow_parser` finds, with one parser a domain: it keeps templates by id alone.
fn second_opinion(messages: &[Vec<u8>]) -> usize {
    let mut parsers: BTreeMap<Option<u32>, NetflowParser> = BTreeMap::new();
    let records = |packet: &NetflowPacket| match packet {
        NetflowPacket::IPFix(message) => message
            .flowsets
            .iter()
            .map(|set| match &set.body {
                FlowSetBody::Data(data) => data.fields.len(),
                FlowSetBody::OptionsData(data) => data.fields.len(),
                _ => 0,
            })
            .sum(),
        _ => 0_usize,
    };
    messages
        .iter()
        .map(|message| {
            let parser = parsers.entry(wire::domain(message)).or_default();
            parser.parse_bytes(message).packets.iter().map(records).sum::<usize>()
        })
        .sum()
}
