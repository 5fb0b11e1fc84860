//! The router: whatever messages come, and whatever happens to destinations and configuration in between,
//! what it hands out is whole messages for destinations that there are.
//! Input: mode and protocols, how many destinations, then steps of two bytes, some with sets behind them.

use std::time::Instant;

use balancer_user::config::{Mode, Protocol};
use balancer_user::input::frame::check_datagram;
use balancer_user::session::{
    Delivery, Outlook, Payload, Refusal, Router, Shape, Targets, all_targets, bit, each_target,
};
use common::message::{HEADER_LEN, Header, VERSION};

/// Runs one input.
pub fn run(input: &[u8]) {
    let Some((&[form, count], mut steps)) = input.split_first_chunk() else { return };
    let mut world = World::new(form, count);
    while let Some((&[what, value], rest)) = steps.split_first_chunk() {
        let sets;
        (sets, steps) = match what {
            0..=0xbf => rest.split_at(usize::from(value).min(rest.len())),
            _ => (&[][..], rest),
        };
        world.happen(what, value, sets);
    }
}

struct World {
    router: Router,
    up: Targets,
    sequence: u32,
}

impl World {
    fn new(form: u8, count: u8) -> World {
        let shape = shape(form, count);
        let up = all_targets(shape.targets());
        let sequence = u32::from(form) << 24;
        World { router: Router::new(shape, usize::from(count)), up, sequence }
    }

    fn happen(&mut self, what: u8, value: u8, sets: &[u8]) {
        let outputs = self.router.shape().outputs.len();
        let target = usize::from(value).checked_rem(outputs).unwrap_or(0);
        match what {
            0..=0xbf => self.route(what, sets),
            0xc0..=0xcf => self.up &= !bit(target),
            0xd0..=0xdf => {
                self.up |= bit(target);
                self.router.reconnected(target, &[]);
            }
            0xe0..=0xe7 => self.router.lost(u32::from(what & 3), target),
            0xe8..=0xef => self.router.set_limit(target, 64 + 8 * usize::from(value)),
            0xf0..=0xff => self.reload(what, value),
        }
    }

    /// A message with these sets, right or wrong.
    fn route(&mut self, what: u8, sets: &[u8]) {
        let length = u16::try_from(HEADER_LEN + sets.len()).expect("a step is short");
        let header = Header {
            version: VERSION,
            length,
            export_time: 1,
            sequence: self.sequence,
            domain: u32::from(what & 3),
        };
        self.sequence = self.sequence.wrapping_add(u32::from(what >> 2 & 7));
        let message = [&header.to_bytes()[..], sets].concat();
        let outlook = Outlook {
            turn: self.up,
            reachable: self.up,
            queued: what & 0x20 != 0,
            room: if what & 0x40 != 0 { 2000 } else { usize::MAX },
            now: Instant::now(),
        };
        let (mut routed, mut out) = (message.clone(), Vec::new());
        match self.router.route(&mut routed, &outlook, &mut out) {
            Ok(()) => self.check(&routed, &out, &message),
            Err(refusal) => {
                assert!(out.is_empty() && routed == message, "refused, and yet something was done");
                let waits = refusal == Refusal::NoDestination;
                assert!(!waits || self.up & self.everyone() == 0, "nobody takes it, they say");
            }
        }
        self.router.take_resized();
        self.router.take_redefined();
    }

    fn check(&self, routed: &[u8], out: &[Delivery], message: &[u8]) {
        assert!(check_datagram(message).is_ok(), "malformed, and yet passed on");
        let mut wholes = 0;
        for delivery in out {
            assert!(delivery.to != 0 && delivery.to & !self.everyone() == 0, "nobody's");
            let bytes = match &delivery.payload {
                Payload::Whole => {
                    wholes += each_target(delivery.to).count();
                    routed
                }
                Payload::Composed(bytes) => bytes,
                Payload::Dropped(_) | Payload::Missed => continue,
            };
            assert_eq!(check_datagram(bytes), Ok(()));
            assert!(bytes.len() >= HEADER_LEN);
        }
        if self.router.shape().mode == Mode::RoundRobin {
            assert!(wholes <= 1, "two have got the same flow data");
            // What somebody misses is noted for who is down, and not sent.
            let mut sent = out.iter().filter(|delivery| delivery.payload != Payload::Missed);
            assert!(sent.all(|delivery| delivery.to & !self.up == 0), "for who is down");
        }
    }

    /// Another configuration: some destinations stay, in another order.
    fn reload(&mut self, what: u8, value: u8) {
        let before = self.router.shape().clone();
        let shape = shape(what, value);
        let count = before.outputs.len();
        let mut kept: Vec<Option<usize>> = Vec::new();
        for target in 0..shape.outputs.len() {
            let old = (target + usize::from(value >> 4)) % (count + 1);
            kept.push(Some(old).filter(|old| *old < count && !kept.contains(&Some(*old))));
        }
        if shape.file().is_some() {
            kept.push(before.file());
        }
        self.router.reconfigure(shape, &kept);
        self.up = self.everyone();
    }

    fn everyone(&self) -> Targets {
        all_targets(self.router.shape().targets())
    }
}

fn shape(form: u8, count: u8) -> Shape {
    let protocol = |bit: u8| if form & bit == 0 { Protocol::Tcp } else { Protocol::Udp };
    let mode = match form & 3 {
        1 => Mode::All,
        2 => Mode::Disabled,
        _ => Mode::RoundRobin,
    };
    // Only a receiver that records can do without destinations.
    let outputs = usize::from(count % 5) + usize::from(mode != Mode::Disabled);
    Shape {
        mode,
        input: protocol(4),
        outputs: vec![protocol(8); outputs],
        counts: mode == Mode::Disabled,
        template_seconds: 600,
        template_messages: 3,
    }
}
