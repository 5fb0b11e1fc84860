//! One case of the table.

use balancer_user::session::Refusal;
use common::reason::PassUp;
use ipfix_balancer_tests::exporter::Message;
use ipfix_balancer_tests::frame::Frame;

use super::world::{DOMAIN, FLOW, Hook, World};

/// What becomes of a packet in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to one destination, with this sequence number.
    One { to: usize, number: u32 },
    /// It goes to all destinations as it is.
    Everyone,
    /// It goes up to the daemon, and is counted for this.
    Up(PassUp),
    /// It goes on into the network stack, and nothing is counted.
    Ignored,
    /// It is dropped, and counted as overload.
    Overload,
    /// It is decided about on another CPU.
    Moved,
}

/// What the daemon makes of a datagram that has come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// One destination gets it, with this number.
    One { to: usize, number: u32 },
    /// All get it as it is.
    Everyone,
    /// All get it, each with a number of its own.
    Each(Vec<u32>),
    /// These messages, in this order.
    Sends(Vec<(usize, Vec<u8>)>),
    /// It is dropped, or has to wait.
    Refuses(Refusal),
    /// The datagram is not made of whole messages.
    Invalid,
    /// It does not get it, or not in this form.
    NotAsked,
}

/// The octets of a packet.
#[derive(Clone, Debug)]
pub enum Packet {
    /// A frame to be built.
    Frame(Frame),
    /// A frame as it is.
    Raw(Vec<u8>),
}

/// One packet, and what is expected of it.
#[derive(Clone, Debug)]
pub struct Step {
    pub packet: Packet,
    /// The datagram that the packet carries, or whose beginning.
    pub datagram: Vec<u8>,
    pub verdict: Verdict,
    pub daemon: Daemon,
    /// Datagrams in the packet, as GRO makes them.
    pub segments: u32,
}

/// Configuration, state and packets.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub world: World,
    pub steps: Vec<Step>,
    /// The hooks that it applies to.
    pub hooks: &'static [Hook],
}

impl Case {
    /// A case without packets yet, for all hooks.
    pub fn new(name: impl Into<String>, world: World) -> Self {
        Self { name: name.into(), world, steps: Vec::new(), hooks: Hook::ALL }
    }

    /// For these hooks alone.
    pub fn only(mut self, hooks: &'static [Hook]) -> Self {
        self.hooks = hooks;
        self
    }

    /// A packet that is forwarded.
    pub fn forwarded(self, frame: Frame, message: Vec<u8>, verdict: Verdict) -> Self {
        let daemon = match verdict {
            Verdict::One { to, number } => Daemon::One { to, number },
            _ => Daemon::Everyone,
        };
        self.step(Packet::Frame(frame), message, verdict, daemon)
    }

    /// A message in an ordinary frame that goes to one destination.
    pub fn one(self, message: Vec<u8>, to: usize, number: u32) -> Self {
        let frame = self.world.frame(&message);
        self.forwarded(frame, message, Verdict::One { to, number })
    }

    /// A one-set message of flow data that goes to one destination.
    pub fn flow(self, sequence: u32, to: usize, number: u32) -> Self {
        self.one(flow(sequence), to, number)
    }

    /// A datagram in an ordinary frame that goes up.
    pub fn up(self, datagram: Vec<u8>, reason: PassUp, daemon: Daemon) -> Self {
        let frame = self.world.frame(&datagram);
        self.step(Packet::Frame(frame), datagram, Verdict::Up(reason), daemon)
    }

    /// Any packet.
    pub fn step(
        mut self,
        packet: Packet,
        datagram: Vec<u8>,
        verdict: Verdict,
        daemon: Daemon,
    ) -> Self {
        let step = Step { packet, datagram, verdict, daemon, segments: 1 };
        self.steps.push(step);
        self
    }

    /// The last packet with something changed.
    pub fn last(mut self, change: impl FnOnce(&mut Step)) -> Self {
        if let Some(step) = self.steps.last_mut() {
            change(step);
        }
        self
    }
}

/// A message of the session's domain, without sets.
pub fn message(sequence: u32) -> Message {
    Message::new(DOMAIN, sequence)
}

/// A message with one set of flow data.
pub fn flow(sequence: u32) -> Vec<u8> {
    flow_of(sequence, 60)
}

/// Likewise, with so many octets in the set. No two of them are the same.
pub fn flow_of(sequence: u32, octets: usize) -> Vec<u8> {
    message(sequence).set(FLOW, &content(octets)).build()
}

/// Octets that make up no pattern of 16 bits.
pub fn content(octets: usize) -> Vec<u8> {
    (1..=u8::MAX).cycle().take(octets).collect()
}
