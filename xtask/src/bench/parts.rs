//! What the parts of a measurement have in common.

use std::net::UdpSocket;

use anyhow::Result;
use nix::sys::socket::{setsockopt, sockopt};

/// Receive buffer of every UDP socket of the bench, and of the peers; the system may grant less.
pub const RECEIVE_BUFFER: usize = 4 << 20;

/// Gives a socket the bench's receive buffer.
pub fn set_receive_buffer(socket: &UdpSocket) -> Result<()> {
    Ok(setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?)
}
