//! Sends IPFIX, and builds it.
//!
//! - [`TcpExporter`], [`UdpExporter`]: one exporter session each;
//! - [`Message`], [`Template`]: any single message, right or wrong;
//! - [`Flows`]: a session's messages with right sequence numbers and records that are all
//!   different, so that one record missing, or there twice, can be told.

mod flows;
mod message;
mod tcp;
mod template;
mod udp;

pub use flows::Flows;
pub use message::Message;
pub use tcp::{Segments, TcpExporter};
pub use template::{Field, Template};
pub use udp::UdpExporter;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::collector::Protocol;

/// An exporter session over either protocol.
#[derive(Debug)]
pub enum Exporter {
    /// One TCP connection.
    Tcp(TcpExporter),
    /// One UDP source.
    Udp(UdpExporter),
}

impl Exporter {
    /// Opens a session.
    pub fn connect(protocol: Protocol, to: SocketAddr) -> Result<Self> {
        Ok(match protocol {
            Protocol::Tcp => Self::Tcp(TcpExporter::connect(to)?),
            Protocol::Udp => Self::Udp(UdpExporter::connect(to)?),
        })
    }

    /// This end's address.
    pub fn address(&self) -> Result<SocketAddr> {
        match self {
            Self::Tcp(exporter) => exporter.address(),
            Self::Udp(exporter) => exporter.address(),
        }
    }

    /// Sends one message: one write, one datagram.
    pub fn send(&mut self, message: &[u8]) -> Result<()> {
        match self {
            Self::Tcp(exporter) => exporter.send(message),
            Self::Udp(exporter) => exporter.send(message),
        }
    }

    /// Sends messages, over UDP at a rate that a busy machine's receive buffers stand.
    pub fn send_all<M: AsRef<[u8]>>(&mut self, messages: &[M]) -> Result<()> {
        for message in messages {
            self.send(message.as_ref())?;
            if matches!(self, Self::Udp(_)) {
                std::thread::sleep(DATAGRAM_PACE);
            }
        }
        Ok(())
    }
}

/// Between two datagrams of [`Exporter::send_all`].
const DATAGRAM_PACE: Duration = Duration::from_micros(500);
