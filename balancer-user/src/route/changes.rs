//! Notice that links, addresses, routes, rules or neighbours have changed.

use std::{io, time::Duration};

use netlink_packet_route::AddressFamily;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until, timeout_at},
};

use super::netlink::{DATAGRAM, NetlinkError, messages};

/// Changes come in bursts: the first gives a tick at once, as packets may be lost on the old way, and
/// the others one that is no earlier than this after it.
const SETTLE: Duration = Duration::from_millis(20);
/// A tick without a change comes after this time, for what the kernel does not announce: learned
/// path MTUs, drivers that gain or lose XDP features, neighbours that have to be probed.
const REFRESH: Duration = Duration::from_secs(10);
/// Messages that one tick swallows at most.
const BURST: usize = 4096;

const GROUPS: [u32; 10] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_IFADDR,
    // Says of the MTU that an IPv6 router has announced.
    libc::RTNLGRP_IPV6_IFINFO,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_NEXTHOP,
];

/// Tells when something may have changed. Messages that were lost count as a change.
#[derive(Debug)]
pub struct Changes {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
    /// When the tick is due that a change has already been seen for.
    due: Option<Instant>,
    /// No tick is due before this.
    quiet: Instant,
    refresh: Instant,
}

impl Changes {
    /// Watches the calling thread's network namespace. Needs a tokio runtime.
    pub fn watch() -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            for group in GROUPS {
                socket.add_membership(group)?;
            }
            socket.set_non_blocking(true)?;
            register(socket)
        };
        let socket = open().map_err(NetlinkError::Open)?;
        let buffer = Vec::with_capacity(DATAGRAM);
        let now = Instant::now();
        Ok(Self { socket, buffer, due: None, quiet: now, refresh: now + REFRESH })
    }

    /// Waits for the next tick: a change, or 10 s without one. A call that is dropped loses no
    /// tick.
    pub async fn changed(&mut self) {
        let due = match self.due {
            Some(due) => due,
            None => {
                let _ = timeout_at(self.refresh, self.relevant_message()).await;
                *self.due.insert(self.quiet)
            }
        };
        sleep_until(due).await;
        self.swallow();
        self.due = None;
        self.quiet = Instant::now() + SETTLE;
        self.refresh = Instant::now() + REFRESH;
    }

    async fn relevant_message(&mut self) {
        let Self { socket, buffer, .. } = self;
        loop {
            let received = socket.async_io(Interest::READABLE, |socket| {
                buffer.clear();
                socket.recv_from(buffer, 0)
            });
            // An error, as a rule ENOBUFS, means that messages were lost.
            if received.await.is_err() || is_relevant(buffer) {
                return;
            }
        }
    }

    /// Reads away what the coming tick stands for.
    fn swallow(&mut self) {
        let Self { socket, buffer, .. } = self;
        for _ in 0..BURST {
            let received = socket.try_io(Interest::READABLE, |socket| {
                buffer.clear();
                socket.recv_from(buffer, 0)
            });
            if received.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return;
            }
        }
    }
}

#[allow(
    deprecated,
    reason = "its successor is unsafe, for types whose `as_raw_fd` does not give the descriptor \
              they own; `Socket` gives it, and closes it only after `AsyncFd` has let go of it"
)]
fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Bridges announce every address they learn, as neighbours and links of this family.
fn is_relevant(datagram: &[u8]) -> bool {
    let bridge = u8::from(AddressFamily::Bridge);
    messages(datagram).any(|message| message.payload().first() != Some(&bridge))
}
