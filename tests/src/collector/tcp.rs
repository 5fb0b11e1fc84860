//! The TCP side of a collector: a thread that accepts, and one a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, SockRef, Socket, Type};

use super::orders::{Orders, deafen};
use super::store::Key;
use super::{Manners, Reading, Store, TICK};
use crate::net;

/// The smallest that Linux grants, so that a collector that does not read blocks soon.
const SMALL_BUFFER: usize = 2_048;
const READ: usize = 256 * 1024;
const BACKLOG: i32 = 1_024;

pub(super) fn listen(
    address: SocketAddr,
    manners: Manners,
    store: Arc<Store>,
    orders: Arc<Orders>,
) -> Result<JoinHandle<()>> {
    let bound = net::bind(|| bind(address, manners));
    let listener = bound.with_context(|| format!("listen on {address} tcp"))?;
    Ok(std::thread::spawn(move || accept(&listener, manners, &store, &orders)))
}

fn bind(address: SocketAddr, manners: Manners) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if matches!(manners.reading, Reading::Never | Reading::Slow { .. }) {
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
    }
    // On Linux the time-out holds for accept() too.
    socket.set_read_timeout(Some(TICK))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn accept(listener: &TcpListener, manners: Manners, store: &Arc<Store>, orders: &Arc<Orders>) {
    let mut threads = Vec::new();
    let mut serve = |stream, peer| {
        let key = store.open(peer);
        let (store, orders) = (Arc::clone(store), Arc::clone(orders));
        let resets = orders.resets();
        threads.push(std::thread::spawn(move || {
            Connection { stream, manners, key, store: &store, orders: &orders, resets }.serve();
            store.close(key);
        }));
    };
    while !orders.is_stopped() {
        let Ok((stream, peer)) = listener.accept() else { continue };
        serve(stream, peer);
    }
    if orders.is_killed() && deafen(&SockRef::from(listener)).is_ok() {
        // The kernel has acknowledged what these have brought.
        while let Ok((stream, peer)) = listener.accept() {
            serve(stream, peer);
        }
    }
    for thread in threads {
        // A connection that panicked has brought nothing more.
        drop(thread.join());
    }
}

struct Connection<'a> {
    stream: TcpStream,
    manners: Manners,
    key: Key,
    store: &'a Store,
    orders: &'a Orders,
    /// Resets before it came.
    resets: usize,
}

impl Connection<'_> {
    fn serve(mut self) {
        match self.manners.reading {
            Reading::Never => self.hold(),
            Reading::Normal => self.read(READ, None, usize::MAX),
            Reading::Stalling { after } => {
                self.read(READ, None, after);
                self.hold();
            }
            Reading::Slow { octets, pause } => self.read(octets, Some(pause), usize::MAX),
        }
    }

    fn hold(&self) {
        while !self.orders.is_stopped() {
            std::thread::sleep(TICK);
        }
    }

    fn read(&mut self, octets: usize, pause: Option<Duration>, mut left: usize) {
        let mut buffer = vec![0; octets.max(1)];
        let mut pending = Vec::new();
        if self.stream.set_read_timeout(Some(TICK)).is_err() {
            return;
        }
        while left > 0 && !self.orders.is_stopped() && !self.is_to_break() {
            if self.orders.is_stalled() {
                std::thread::sleep(TICK);
                continue;
            }
            match self.read_once(&mut buffer, &mut pending) {
                Ok(0) => break,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.answer();
                }
                Err(error) if is_timeout(&error) => {}
                Err(_) => break,
            }
            if let Some(pause) = pause {
                std::thread::sleep(pause);
            }
        }
        if self.is_to_break() {
            self.abort(&mut buffer, &mut pending);
        }
        self.store.note_rest(self.key, &pending);
    }

    fn read_once(&mut self, buffer: &mut [u8], pending: &mut Vec<u8>) -> std::io::Result<usize> {
        let count = self.stream.read(buffer)?;
        pending.extend_from_slice(buffer.get(..count).unwrap_or_default());
        self.store.take(self.key, pending, self.manners.counts_only);
        Ok(count)
    }

    fn is_to_break(&self) -> bool {
        self.orders.is_killed() || self.orders.resets() != self.resets
    }

    /// Takes what has been acknowledged, and has the connection end with a reset.
    fn abort(&mut self, buffer: &mut [u8], pending: &mut Vec<u8>) {
        // Where it fails the connection has ended already.
        if deafen(&SockRef::from(&self.stream)).is_ok() {
            while matches!(self.read_once(buffer, pending), Ok(1..)) {}
            drop(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)));
        }
    }

    fn answer(&mut self) {
        if self.manners.talks_back {
            // The other side may well refuse it.
            drop(self.stream.write_all(&[0x55; 512]));
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
