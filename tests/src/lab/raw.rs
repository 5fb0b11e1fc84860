//! Sends frames that no socket of a well-behaved program sends.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use socket2::{Domain, Socket, Type};

use super::{Interface, Site};
use crate::frame::{Frame, Mac};

/// Puts Ethernet frames on an interface as they are.
#[derive(Debug)]
pub struct RawExporter {
    socket: Socket,
    interface: LinkAddr,
    source: Interface,
    target: Mac,
}

impl RawExporter {
    /// Sends from a site's interface.
    pub fn open(site: &Site) -> Result<Self> {
        let name = site.interface.name();
        // Protocol 0: this socket receives nothing.
        let open = || Ok((Socket::new(Domain::PACKET, Type::RAW, None)?, link_address(name)?));
        let (socket, interface) = site.run(open)?;
        let (source, target) = (site.interface.clone(), site.peer.mac());
        Ok(Self { socket, interface, source, target })
    }

    /// A frame from the site's address and this port, to the other end of the veth pair.
    pub fn frame(&self, source_port: u16, to: SocketAddr, payload: &[u8]) -> Frame {
        let source: IpAddr = match to {
            SocketAddr::V4(_) => self.source.v4.into(),
            SocketAddr::V6(_) => self.source.v6.into(),
        };
        Frame::udp(SocketAddr::new(source, source_port), to, payload)
            .macs(self.source.mac(), self.target)
    }

    /// Sends one frame. Its Ethernet type is its own; no checksum is touched.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let flags = MsgFlags::empty();
        let sent = sendto(self.socket.as_raw_fd(), frame, &self.interface, flags)?;
        ensure!(sent == frame.len(), "a frame was cut");
        Ok(())
    }
}

/// What packet sockets take for an interface.
fn link_address(name: &str) -> Result<LinkAddr> {
    let named = getifaddrs()?.filter(|entry| entry.interface_name == name);
    let mut addresses = named.filter_map(|entry| entry.address?.as_link_addr().copied());
    addresses.next().with_context(|| format!("no interface {name}"))
}
