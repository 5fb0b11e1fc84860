//! What comes, and what may happen to it.

/// A message, by its place in the scenario.
pub type Id = usize;

/// What a message is to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Flow data.
    Data,
    /// Flow data that has no way out at present: it goes up even when the program might forward.
    Unroutable,
    /// Goes up always, and can't be marked. What follows it needs it.
    Template,
}

/// Where a message comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Where the program is.
    Served,
    /// Where it is not: nothing is counted.
    Other,
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub kind: Kind,
    pub domain: u8,
    pub interface: Interface,
}

pub const DATA: Message = Message { kind: Kind::Data, domain: 0, interface: Interface::Served };
pub const TEMPLATE: Message = Message { kind: Kind::Template, ..DATA };
pub const UNROUTABLE: Message = Message { kind: Kind::Unroutable, ..DATA };
/// Flow data of an observation domain that is not in the maps yet.
pub const NEW_DOMAIN: Message = Message { domain: 1, ..DATA };
/// Flow data that comes in where the program is not.
pub const ELSEWHERE: Message = Message { interface: Interface::Other, ..DATA };

/// What comes, and what may happen to it.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub messages: Vec<Message>,
    /// For each CPU the messages that it gets, in their order.
    pub cpus: Vec<Vec<Id>>,
    /// Messages that are in the socket's queue already.
    pub early: Vec<Id>,
    /// Whether the session is in the maps, and the program forwards.
    pub installed: bool,
    /// How many datagrams may be lost between the program and the socket.
    pub losses: u8,
    /// How often the daemon may look after a session from which nothing comes.
    pub repairs: u8,
    /// Whether the daemon changes the configuration, at any time.
    pub changes: bool,
    /// Whether what was counted comes to the socket in the order of its numbers.
    pub keeps_order: bool,
    /// Whether the order of messages matters.
    pub asserts_order: bool,
    /// Whether the daemon knows over which interface a datagram came.
    pub tells_interfaces: bool,
    /// Whether a new domain gets into the maps only after the mark was asked for.
    pub adds_domain_late: bool,
    /// Whether the program must be able to forward in the end, without any repair.
    pub ends_even: bool,
}

impl Scenario {
    /// These messages, one after the other, in a session that the program forwards; nothing goes
    /// wrong.
    pub fn of(messages: &[Message]) -> Scenario {
        Scenario {
            messages: messages.to_vec(),
            cpus: vec![(0..messages.len()).collect()],
            early: Vec::new(),
            installed: true,
            losses: 0,
            repairs: 0,
            changes: false,
            keeps_order: true,
            asserts_order: true,
            tells_interfaces: true,
            adds_domain_late: false,
            ends_even: false,
        }
    }
}
