//! The same cases through the daemon's router.

use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use balancer_user::config::{Mode, Protocol};
use balancer_user::input::frame::{check_datagram, next_in_datagram};
use balancer_user::session::{
    Delivery, Outlook, Payload, Refusal, Router, Shape, Targets, all_targets, bit, each_target,
};
use common::maps::MAX_DESTINATIONS;
use common::message::set_sequence;
use common::sequence::{FIRST, GONE, Sequence};
use ipfix_balancer_tests::exporter::{Field, Message, Template};

use super::case::{Case, Daemon, Verdict};
use super::world::{DOMAIN, World};

/// A domain that is not the session's one, to give its destinations turns.
const OTHER_DOMAIN: u32 = 1000;

/// What became of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// These destinations were sent these messages, in this order.
    Sent(Vec<(usize, Vec<u8>)>),
    /// The last message was dropped, or has to wait.
    Refused(Refusal),
    /// It is not made of whole messages.
    Invalid,
}

/// The router of one session.
pub struct Userspace {
    router: Router,
    outlook: Outlook,
}

impl Userspace {
    /// A router in the state that the world says, brought there by messages that the exporter may
    /// have sent.
    pub fn of(world: &World) -> Result<Self> {
        let gone = usize::from(world.state.line.holder == GONE);
        let shape = shape(world, world.destinations + gone);
        let everyone = all_targets(world.destinations + gone);
        let outlook = Outlook {
            turn: everyone,
            reachable: everyone,
            queued: false,
            room: usize::MAX,
            now: Instant::now(),
        };
        let mut userspace = Self { router: Router::new(shape, 0), outlook };
        userspace.replay(world)?;
        if gone > 0 {
            let kept: Vec<_> = (0..world.destinations).map(Some).collect();
            userspace.router.reconfigure(self::shape(world, world.destinations), &kept);
        }
        userspace.give_turn(world)?;
        let everyone = all_targets(world.destinations);
        userspace.outlook.reachable = everyone;
        userspace.set_takers(world.takers);
        for target in 0..world.destinations {
            let mtu = if target == 0 { usize::try_from(world.mtu)? } else { 1500 };
            userspace.router.set_limit(target, mtu.saturating_sub(world.headers()));
        }
        each_target(world.unsynced.into()).for_each(|to| userspace.router.lost(DOMAIN, to));
        Ok(userspace)
    }

    /// Says who takes turns from now on.
    pub fn set_takers(&mut self, takers: u32) {
        self.outlook.turn = takers.into();
    }

    /// Turn, incoming line and outgoing numbers of the session's domain.
    pub fn progress(&self) -> Result<(u32, Sequence, [u32; MAX_DESTINATIONS])> {
        let mut domains = self.router.steering();
        let domain = domains.find(|domain| domain.domain == DOMAIN).context("no domain")?;
        let mut outgoing = [0; MAX_DESTINATIONS];
        outgoing.iter_mut().zip(domain.outgoing).for_each(|(to, from)| *to = *from);
        Ok((u32::try_from(self.router.turn())?, domain.line, outgoing))
    }

    /// Routes the messages of a datagram.
    pub fn take(&mut self, mut datagram: &[u8]) -> Outcome {
        if check_datagram(datagram).is_err() {
            return Outcome::Invalid;
        }
        let mut sent = Vec::new();
        while let Ok(length) = next_in_datagram(datagram) {
            let Some((message, rest)) = datagram.split_at_checked(length) else { break };
            match self.route(message) {
                Ok(messages) => sent.extend(messages),
                Err(refusal) => return Outcome::Refused(refusal),
            }
            datagram = rest;
        }
        Outcome::Sent(sent)
    }

    fn route(&mut self, message: &[u8]) -> Result<Vec<(usize, Vec<u8>)>, Refusal> {
        let mut message = message.to_vec();
        let mut deliveries = Vec::new();
        self.router.route(&mut message, &self.outlook, &mut deliveries)?;
        let each = deliveries.iter().flat_map(|delivery| self::sent(delivery, &message));
        Ok(each.collect())
    }

    /// Templates, and in RoundRobin as many records for each destination as were sent it, the last
    /// message to the holder.
    fn replay(&mut self, world: &World) -> Result<()> {
        let (line, everyone) = (world.state.line, self.outlook.turn);
        let records: Vec<_> = world.state.outgoing.iter().take(world.destinations).collect();
        let sum = records.iter().fold(0_u32, |sum, records| sum.wrapping_add(**records));
        let mut sequence = line.credited.wrapping_sub(sum);
        self.learn(world, sequence)?;
        if world.mode == Mode::All || line.holder == FIRST {
            ensure!(sum == 0, "records before the first message");
            return Ok(());
        }
        for (target, records) in records.into_iter().enumerate() {
            self.let_have(bit(target), DOMAIN, sequence)?;
            sequence = sequence.wrapping_add(*records);
        }
        let holder =
            if line.holder == GONE { world.destinations } else { line.holder.try_into()? };
        self.let_have(bit(holder), DOMAIN, sequence)?;
        self.outlook.turn = everyone;
        Ok(())
    }

    fn learn(&mut self, world: &World, sequence: u32) -> Result<()> {
        let scope = [Field::iana(10, 4), Field::iana(82, 4)];
        let templates: Vec<_> =
            world.options.iter().map(|id| Template::options(*id, 1, scope)).collect();
        let templates = templates.iter().collect::<Vec<_>>();
        let message = Message::new(DOMAIN, sequence).template(&Template::data(256, [scope[0]]));
        let message = if templates.is_empty() { message } else { message.templates(&templates) };
        self.pass(&message.build())
    }

    /// Whose turn it is belongs to the session: a message of another domain moves it.
    fn give_turn(&mut self, world: &World) -> Result<()> {
        if world.mode == Mode::All {
            return Ok(());
        }
        let turn = usize::try_from(world.state.turn)?;
        let before = turn.checked_sub(1).unwrap_or(world.destinations - 1);
        self.let_have(bit(before), OTHER_DOMAIN, 0)
    }

    fn let_have(&mut self, target: Targets, domain: u32, sequence: u32) -> Result<()> {
        self.outlook.turn = target;
        self.pass(&Message::new(domain, sequence).set(256, &[0; 4]).build())
    }

    fn pass(&mut self, message: &[u8]) -> Result<()> {
        self.route(message).map(drop).map_err(|refusal| anyhow!("replay: {refusal:?}"))
    }
}

fn shape(world: &World, destinations: usize) -> Shape {
    Shape {
        mode: world.mode,
        input: Protocol::Udp,
        outputs: vec![Protocol::Udp; destinations],
        counts: false,
        template_seconds: 600,
        template_messages: 5000,
    }
}

fn sent(delivery: &Delivery, message: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let bytes = match &delivery.payload {
        Payload::Composed(bytes) => bytes.to_vec(),
        Payload::Whole => message.to_vec(),
        Payload::Dropped(_) | Payload::Missed => return Vec::new(),
    };
    each_target(delivery.to).map(|to| (to, bytes.clone())).collect()
}

/// Runs a case.
pub fn check(case: &Case) -> Result<()> {
    let mut userspace = Userspace::of(&case.world).context(case.name.clone())?;
    for (number, step) in case.steps.iter().enumerate() {
        let Some(expected) = expected(case, &step.verdict, &step.daemon, &step.datagram) else {
            continue;
        };
        let outcome = userspace.take(&step.datagram);
        let name = &case.name;
        ensure!(
            outcome == expected,
            "{name}, packet {number}:\n   is {outcome:?}\n  not {expected:?}"
        );
    }
    Ok(())
}

fn expected(case: &Case, verdict: &Verdict, daemon: &Daemon, datagram: &[u8]) -> Option<Outcome> {
    let numbered = |to: usize, number: u32| {
        let mut message = datagram.to_vec();
        set_sequence(&mut message, number);
        (to, message)
    };
    let all = 0..case.world.destinations;
    let sent = match daemon {
        Daemon::One { to, number } => vec![numbered(*to, *number)],
        Daemon::Everyone => all.map(|to| (to, datagram.to_vec())).collect(),
        Daemon::Each(numbers) => {
            all.zip(numbers).map(|(to, number)| numbered(to, *number)).collect()
        }
        Daemon::Sends(messages) => messages.clone(),
        Daemon::Refuses(refusal) => return Some(Outcome::Refused(*refusal)),
        Daemon::Invalid => return Some(Outcome::Invalid),
        Daemon::NotAsked => return None,
    };
    debug_assert!(*verdict != Verdict::Overload, "what is dropped does not come up");
    Some(Outcome::Sent(sent))
}
