//! Writes the daemon's configuration.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use crate::collector::{Collector, Protocol};

/// How a receiver balances messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every destination gets it.
    All,
    /// The next destination gets it.
    RoundRobin,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "All",
            Self::RoundRobin => "RoundRobin",
        })
    }
}

/// One receiver of the configuration.
#[derive(Clone, Debug)]
pub struct Receiver {
    stream: &'static str,
    index: usize,
    /// None: it records.
    mode: Option<Mode>,
    protocol: Protocol,
    listen: SocketAddr,
    destination_protocol: Protocol,
    destinations: Vec<SocketAddr>,
    extra: Vec<(String, String)>,
}

impl Receiver {
    /// `FULLFLOW[0]`, listening on `listen`.
    pub fn new(mode: Mode, protocol: Protocol, listen: SocketAddr) -> Self {
        Self { mode: Some(mode), ..Self::listening(protocol, listen) }
    }

    /// `FULLFLOW[0]`, which records into `directory`.
    pub fn recording(protocol: Protocol, listen: SocketAddr, directory: &Path) -> Self {
        Self::listening(protocol, listen).set("DUMP_DIR", directory.display())
    }

    fn listening(protocol: Protocol, listen: SocketAddr) -> Self {
        Self {
            stream: "FULLFLOW",
            index: 0,
            mode: None,
            protocol,
            listen,
            destination_protocol: Protocol::Tcp,
            destinations: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// Another stream and index.
    pub fn named(mut self, stream: &'static str, index: usize) -> Self {
        self.stream = stream;
        self.index = index;
        self
    }

    /// Replaces the destinations.
    pub fn destinations(mut self, protocol: Protocol, addresses: &[SocketAddr]) -> Self {
        self.destination_protocol = protocol;
        self.destinations = addresses.to_vec();
        self
    }

    /// Replaces the destinations by these collectors, whose protocol is that of the first.
    pub fn to(self, collectors: &[Collector]) -> Self {
        let protocol = collectors.first().map_or(Protocol::Tcp, Collector::protocol);
        let addresses: Vec<_> = collectors.iter().map(Collector::address).collect();
        self.destinations(protocol, &addresses)
    }

    /// Copies of what is recorded to these collectors, each by its own protocol.
    pub fn copies_to(self, collectors: &[Collector]) -> Self {
        let copy = |c: &Collector| format!("{}/{}", destination(&c.address()), c.protocol());
        let copies: Vec<_> = collectors.iter().map(copy).collect();
        self.set("DUMP_INSERT_PROCESSES", copies.join(", "))
    }

    /// Sets another parameter, given without stream and index: `set("ACCEL", "off")`.
    pub fn set(mut self, parameter: &str, value: impl fmt::Display) -> Self {
        self.extra.push((parameter.to_owned(), value.to_string()));
        self
    }

    /// The name in `status` and the log, for example `FULLFLOW[0]`.
    pub fn name(&self) -> String {
        format!("{}[{}]", self.stream, self.index)
    }

    /// Where exporters send to.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// What exporters send it.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn lines(&self) -> Vec<(String, String)> {
        let destinations: Vec<_> = self.destinations.iter().map(destination).collect();
        let mut lines = vec![
            ("PORT_TYPE".to_owned(), self.protocol.to_string()),
            ("PORT".to_owned(), self.listen.port().to_string()),
            ("BIND".to_owned(), self.listen.ip().to_string()),
        ];
        match self.mode {
            None => lines.push(("BALANCER".to_owned(), "Disabled".to_owned())),
            Some(mode) => lines.extend([
                ("BALANCER".to_owned(), mode.to_string()),
                ("BALANCER_SUB".to_owned(), destinations.join(", ")),
                ("BALANCER_SUB_PROTO".to_owned(), self.destination_protocol.to_string()),
            ]),
        }
        lines.extend(self.extra.iter().cloned());
        lines
    }
}

/// The line that has the daemon serve metrics there.
pub fn metrics_at(address: SocketAddr) -> String {
    format!("IPFIX_METRICS_LISTEN={address}\n")
}

/// The configuration file's text.
pub fn render(receivers: &[Receiver]) -> String {
    let mut text = String::new();
    for receiver in receivers {
        let Receiver { stream, index, .. } = receiver;
        for (parameter, value) in receiver.lines() {
            text.push_str(&format!("IPFIX_{stream}_{parameter}[{index}]={value}\n"));
        }
    }
    text
}

fn destination(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => format!("{}/{}", address.ip(), address.port()),
        SocketAddr::V6(address) => format!("[{}]/{}", address.ip(), address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_written_as_documented() {
        let receiver = Receiver::new(
            Mode::RoundRobin,
            Protocol::Udp,
            SocketAddr::from(([127, 0, 0, 1], 1500)),
        )
        .named("CLICKSTREAM", 2)
        .destinations(Protocol::Tcp, &["[::1]:4739".parse().unwrap()])
        .set("ACCEL", "off");
        let text = render(&[receiver]);
        assert_eq!(
            text,
            "IPFIX_CLICKSTREAM_PORT_TYPE[2]=udp\n\
             IPFIX_CLICKSTREAM_PORT[2]=1500\n\
             IPFIX_CLICKSTREAM_BIND[2]=127.0.0.1\n\
             IPFIX_CLICKSTREAM_BALANCER[2]=RoundRobin\n\
             IPFIX_CLICKSTREAM_BALANCER_SUB[2]=[::1]/4739\n\
             IPFIX_CLICKSTREAM_BALANCER_SUB_PROTO[2]=tcp\n\
             IPFIX_CLICKSTREAM_ACCEL[2]=off\n"
        );
    }
}
