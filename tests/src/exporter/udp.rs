//! A UDP exporter session.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::poll;

/// A socket connected to the balancer (or straight to a collector): one source address and port.
#[derive(Debug)]
pub struct UdpExporter {
    socket: UdpSocket,
}

impl UdpExporter {
    /// Opens a socket with a source port of its own.
    pub fn connect(to: SocketAddr) -> Result<Self> {
        let any = match to.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to).with_context(|| format!("connect to {to}"))?;
        Ok(Self { socket })
    }

    /// This end's address.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// Sends one datagram.
    pub fn send(&self, datagram: &[u8]) -> Result<()> {
        let sent = self.socket.send(datagram).context("send to the balancer")?;
        ensure!(sent == datagram.len(), "a datagram was cut");
        Ok(())
    }

    /// Sends datagrams as fast as they go. A receiver's buffer holds few: for more than some
    /// dozens use [`UdpExporter::send_paced`].
    pub fn send_all<M: AsRef<[u8]>>(&self, datagrams: &[M]) -> Result<()> {
        datagrams.iter().try_for_each(|datagram| self.send(datagram.as_ref()))
    }

    /// Sends datagrams of equal length, of which the last may be shorter, in one system call as one
    /// packet that the kernel has to cut (GSO).
    pub fn send_segments<M: AsRef<[u8]>>(&self, datagrams: &[M]) -> Result<()> {
        let bytes: Vec<u8> = datagrams.iter().flat_map(AsRef::as_ref).copied().collect();
        let segment = u16::try_from(datagrams.first().map_or(0, |first| first.as_ref().len()))?;
        let sent = sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            &[ControlMessage::UdpGsoSegments(&segment)],
            MsgFlags::empty(),
            None,
        )
        .context("send segments to the balancer")?;
        ensure!(sent == bytes.len(), "segments were cut");
        Ok(())
    }

    /// Sends datagrams in groups of `group`, and the next group only once `arrived` says that as
    /// many datagrams as were sent have arrived: nothing is lost in a full buffer.
    pub fn send_paced<M: AsRef<[u8]>>(
        &self,
        datagrams: &[M],
        group: usize,
        mut arrived: impl FnMut() -> usize,
    ) -> Result<()> {
        let before = arrived();
        let mut sent = 0;
        for datagrams in datagrams.chunks(group.max(1)) {
            self.send_all(datagrams)?;
            sent += datagrams.len();
            poll::wait("a group of datagrams arrived", || arrived() >= before + sent)?;
        }
        Ok(())
    }
}
