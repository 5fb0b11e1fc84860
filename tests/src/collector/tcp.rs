//! The TCP side of a collector: a thread that accepts, and one a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

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
    stop: Arc<AtomicBool>,
) -> Result<JoinHandle<()>> {
    let bound = net::bind(|| bind(address, manners));
    let listener = bound.with_context(|| format!("listen on {address} tcp"))?;
    Ok(std::thread::spawn(move || accept(&listener, manners, &store, &stop)))
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

fn accept(listener: &TcpListener, manners: Manners, store: &Arc<Store>, stop: &Arc<AtomicBool>) {
    let mut threads = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, peer)) = listener.accept() else { continue };
        let key = store.open(peer);
        let (store, stop) = (Arc::clone(store), Arc::clone(stop));
        threads.push(std::thread::spawn(move || {
            Connection { stream, manners, key, store: &store, stop: &stop }.serve();
            store.close(key);
        }));
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
    stop: &'a AtomicBool,
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
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
        }
    }

    fn read(&mut self, octets: usize, pause: Option<std::time::Duration>, mut left: usize) {
        let mut buffer = vec![0; octets.max(1)];
        let mut pending = Vec::new();
        if self.stream.set_read_timeout(Some(TICK)).is_err() {
            return;
        }
        while !self.stop.load(Ordering::Relaxed) && left > 0 {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    pending.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    self.store.take(self.key, &mut pending, self.manners.counts_only);
                    self.answer();
                }
                Err(error) if is_timeout(&error) => {}
                Err(_) => break,
            }
            if let Some(pause) = pause {
                std::thread::sleep(pause);
            }
        }
        self.store.note_rest(self.key, &pending);
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
