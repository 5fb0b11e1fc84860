//! What the router goes by.

use serde::{Deserialize, Serialize};

use crate::{
    config::{Mode, Protocol},
    session::{Targets, bit},
};

/// What a UDP destination is sent before the MTU of its route is known: what Ethernet carries.
const UNKNOWN_ROUTE_LIMIT: usize = 1452;

/// What the router has to know of a receiver's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// What happens to a message. In `Disabled` every destination gets it, as in `All`, and last of
    /// the targets the dump file, to which each new file is a new transport session.
    pub mode: Mode,
    /// How messages come in.
    pub input: Protocol,
    /// How they go out to each destination. With the dump file there are 64 targets at most.
    pub outputs: Vec<Protocol>,
    /// Whether data records are counted, see [`super::Router::count`].
    pub counts: bool,
    /// `TEMPLATE_SECONDS`: templates are repeated this often on UDP outputs fed by TCP.
    pub template_seconds: u32,
    /// `TEMPLATE_MESSAGES`: likewise after so many messages of a domain.
    pub template_messages: u32,
}

impl Shape {
    /// How many targets there are: the destinations, and the dump file.
    pub fn targets(&self) -> usize {
        self.outputs.len() + usize::from(self.mode == Mode::Disabled)
    }

    /// The dump file's place among the targets.
    pub fn file(&self) -> Option<usize> {
        (self.mode == Mode::Disabled).then_some(self.outputs.len())
    }

    /// The destinations that are sent to over `protocol`.
    pub(super) fn over(&self, protocol: Protocol) -> Targets {
        let outputs = self.outputs.iter().enumerate();
        outputs.filter(|(_, output)| **output == protocol).fold(0, |set, (t, _)| set | bit(t))
    }

    /// The longest message that each target can be sent before more is known.
    pub(super) fn first_limits(&self) -> Vec<usize> {
        let outputs = self.outputs.iter().map(|output| match output {
            Protocol::Tcp => usize::MAX,
            Protocol::Udp => UNKNOWN_ROUTE_LIMIT,
        });
        outputs.chain(self.file().map(|_| usize::MAX)).collect()
    }
}
