//! A TCP exporter session.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::poll;

/// How a byte stream is cut into writes.
#[derive(Clone, Debug)]
pub enum Segments {
    /// One write for everything.
    Whole,
    /// Writes of this many octets.
    Every(usize),
    /// Writes of these lengths, over and over; zeros are skipped.
    Pattern(Vec<usize>),
}

/// A connection to the balancer (or straight to a collector).
#[derive(Debug)]
pub struct TcpExporter {
    stream: TcpStream,
}

impl TcpExporter {
    /// Connects, without Nagle's algorithm: a write leaves as it is.
    pub fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&to, poll::PATIENCE)
            .with_context(|| format!("connect to {to}"))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(poll::PATIENCE))?;
        Ok(Self { stream })
    }

    /// This end's address.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.stream.local_addr()?)
    }

    /// Sends bytes as they are, right or wrong.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("send to the balancer")
    }

    /// Sends messages, one write each.
    pub fn send_all<M: AsRef<[u8]>>(&mut self, messages: &[M]) -> Result<()> {
        messages.iter().try_for_each(|message| self.send(message.as_ref()))
    }

    /// Sends bytes cut into writes that have nothing to do with message boundaries.
    pub fn send_segmented(&mut self, bytes: &[u8], segments: &Segments) -> Result<()> {
        let lengths: Vec<usize> = match segments {
            Segments::Whole => vec![bytes.len()],
            Segments::Every(length) => vec![*length],
            Segments::Pattern(lengths) => lengths.clone(),
        };
        let mut rest = bytes;
        for length in lengths.iter().copied().filter(|length| *length > 0).cycle() {
            let Some((head, tail)) = rest.split_at_checked(length.min(rest.len())) else { break };
            self.send(head)?;
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Ends the session in order: no more data from this side.
    pub fn finish(&self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// True if the other side closed the connection within `limit` (in order, or by reset).
    pub fn is_closed_within(&mut self, limit: Duration) -> Result<bool> {
        self.stream.set_read_timeout(Some(limit))?;
        let mut byte = [0; 1];
        match self.stream.read(&mut byte) {
            Ok(0) => Ok(true),
            Ok(_) => Ok(false),
            Err(error) => Ok(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        }
    }
}
