//! The UDP side of a collector: one thread, sessions by source address.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;

use super::orders::{Orders, deafen};
use super::store::Key;
use super::{Manners, Reading, Store, TICK};
use crate::net;

const LARGEST: usize = 65_536;
const BUFFER: usize = 8 * 1024 * 1024;

pub(super) fn listen(
    address: SocketAddr,
    manners: Manners,
    store: Arc<Store>,
    orders: Arc<Orders>,
) -> Result<JoinHandle<()>> {
    let bound = net::bind(|| UdpSocket::bind(address));
    let socket = bound.with_context(|| format!("listen on {address} udp"))?;
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        // Capped by net.core.rmem_max, without an error.
        SockRef::from(&socket).set_recv_buffer_size(BUFFER)?;
    }
    socket.set_read_timeout(Some(TICK))?;
    let receiver = Receiver { socket, manners, store, keys: HashMap::new() };
    Ok(std::thread::spawn(move || receiver.serve(&orders)))
}

struct Receiver {
    socket: UdpSocket,
    manners: Manners,
    store: Arc<Store>,
    keys: HashMap<SocketAddr, Key>,
}

impl Receiver {
    fn serve(mut self, orders: &Orders) {
        let mut buffer = vec![0; LARGEST];
        while !orders.is_stopped() {
            match self.manners.reading {
                Reading::Never => std::thread::sleep(TICK),
                _ if orders.is_stalled() => std::thread::sleep(TICK),
                Reading::Normal | Reading::Stalling { .. } => drop(self.receive(&mut buffer)),
                Reading::Slow { pause, .. } => {
                    self.receive(&mut buffer);
                    std::thread::sleep(pause);
                }
            }
        }
        if orders.is_killed() && deafen(&SockRef::from(&self.socket)).is_ok() {
            while self.receive(&mut buffer) {}
        }
    }

    /// Takes one datagram; false if there was none within a tick.
    fn receive(&mut self, buffer: &mut [u8]) -> bool {
        // Nothing within a tick, or an ICMP error for an answer: look again.
        let Ok((length, peer)) = self.socket.recv_from(buffer) else { return false };
        let key = *self.keys.entry(peer).or_insert_with(|| self.store.open(peer));
        let mut datagram = buffer.get(..length).unwrap_or_default().to_vec();
        self.store.note_datagram(key, length);
        self.store.take(key, &mut datagram, self.manners.counts_only);
        self.store.note_rest(key, &datagram);
        if self.manners.talks_back {
            // The other side may well refuse it.
            drop(self.socket.send_to(&[0x55; 64], peer));
        }
        true
    }
}
