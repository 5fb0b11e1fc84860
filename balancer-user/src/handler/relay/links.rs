//! Connections that come and go.

use std::{
    io,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use common::message::{HEADER_LEN, Header, VERSION};
use tokio::{net::UdpSocket, time::Instant};
use tracing::{info, warn};

use super::{super::spooling, LINGER, Relay};
use crate::{
    config::{Destination, Mode},
    net::socket,
    output::{Link, Outlet, OutletId},
};

impl Relay {
    /// The outlet of this id, whether configured still or leaving.
    pub fn outlet(&mut self, id: OutletId) -> Option<&mut Outlet> {
        self.outlets.iter_mut().chain(&mut self.leaving).find(|outlet| outlet.id == id)
    }

    /// A transport session has begun. What a collector needs to decode the waiting messages goes
    /// ahead of them.
    pub fn connected(&mut self, id: OutletId, link: Link, datagram_limit: usize) {
        let place = self.outlets.iter().position(|outlet| outlet.id == id);
        let (receiver, peer) = (self.shared.receiver.borrow().id, self.peer);
        let returns = self.outlet(id).is_some_and(|outlet| !outlet.fresh);
        // The first link of a session that a daemon before this one had changes nothing.
        if returns || place.is_some_and(|target| !self.is_taker(target)) {
            self.own();
        }
        let Some(outlet) = self.outlet(id) else { return };
        let first = outlet.fresh;
        outlet.datagram_limit = datagram_limit;
        let is_udp = matches!(link, Link::Udp(_));
        outlet.connected(link);
        // Of another port it is another transport session than before the restart.
        let moved =
            outlet.source.take().is_some_and(|old| outlet.ends.is_none_or(|(l, _)| l != old));
        if let Some(left_out) = outlet.stats().log_up.pass() {
            info!(%receiver, destination = %outlet.destination, exporter = %peer, left_out, "destination is up");
        }
        if let Some(target) = place
            && is_udp
        {
            self.router.set_limit(target, datagram_limit);
        }
        // A destination that the configuration has no more has no number any more.
        let target = place.unwrap_or(usize::MAX);
        if first {
            if moved {
                self.router.reconnected(target, &[]);
            }
        } else {
            let mut outlets = self.outlets.iter_mut().chain(&mut self.leaving);
            if let Some(outlet) = outlets.find(|outlet| outlet.id == id) {
                outlet.resume(&mut self.router, target);
            }
        }
        self.flush_one(id);
        self.fail_over();
        self.release();
    }

    /// Asks a UDP destination whether it is still there, if it is linked with it.
    pub fn probe(&mut self, destination: &Destination) -> bool {
        let outlet = self.outlets.iter().find(|outlet| outlet.destination == *destination);
        let Some(outlet) = outlet else { return false };
        let (id, Link::Udp(socket)) = (outlet.id, outlet.link().clone()) else { return false };
        match self.send_empty_message(id, &socket) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => {
                if let Some(outlet) = self.outlet(id) {
                    outlet.fail(error);
                }
            }
        }
        true
    }

    /// Sends a UDP destination a message that says nothing.
    pub fn send_empty_message(&mut self, id: OutletId, socket: &UdpSocket) -> io::Result<()> {
        let message = self.empty_message();
        let sent = socket.try_send(&message)?;
        if let Some(outlet) = self.outlet(id) {
            outlet.stats().messages.add(1);
            outlet.stats().bytes.add(u64::try_from(sent).unwrap_or(0));
        }
        Ok(())
    }

    /// A message without sets, of an observation domain that the exporter does not use: it says nothing,
    /// and disturbs no sequence numbers.
    fn empty_message(&self) -> [u8; HEADER_LEN] {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = Header {
            version: VERSION,
            length: u16::try_from(HEADER_LEN).unwrap_or(0),
            export_time: u32::try_from(since_epoch.as_secs()).unwrap_or(u32::MAX),
            sequence: 0,
            domain: self.router.unused_domain(),
        };
        header.to_bytes()
    }

    /// Looks anew at how long a datagram to each destination may be.
    pub fn network_changed(&mut self) {
        for (target, outlet) in self.outlets.iter_mut().enumerate() {
            let Link::Udp(socket) = outlet.link() else { continue };
            let Some((_, collector)) = outlet.ends else { continue };
            // Without a route the next datagram brings the destination down.
            let limit = socket::reconnect_udp(&**socket, collector)
                .and_then(|()| socket::datagram_limit(&**socket, collector));
            if let Ok(limit) = limit {
                outlet.datagram_limit = limit;
                self.router.set_limit(target, limit);
            }
        }
    }

    /// The transport session is over, or could not be made.
    pub fn disconnected(&mut self, id: OutletId, error: &io::Error) {
        let (receiver, peer) = (self.shared.receiver.borrow().id, self.peer);
        self.own();
        let Some(outlet) = self.outlet(id) else { return };
        outlet.disconnected(error);
        if let Some(left_out) = outlet.stats().log_down.pass() {
            warn!(
                %receiver, destination = %outlet.destination, exporter = %peer, left_out,
                waiting = outlet.queue().messages(),
                "destination is down, see whether the collector runs; it is tried again: {error}"
            );
        }
        self.fail_over();
        self.release();
        self.hand_over();
        self.space.notify_one();
    }

    /// Sends what waits for one destination.
    pub fn flush_one(&mut self, id: OutletId) {
        let shared = Rc::clone(&self.shared);
        if let Some(outlet) = self.outlet(id) {
            outlet.flush(&mut shared.scratch.borrow_mut().sender);
        }
        self.tend_spools();
        self.release();
        self.hand_over();
        self.space.notify_one();
    }

    /// Sees to what was sent and not acknowledged, once in a while.
    pub fn look_after_outlets(&mut self) {
        for outlet in self.outlets.iter_mut().chain(&mut self.leaving) {
            outlet.look_after();
        }
        self.fail_over();
        self.tend_spools();
        self.tend_backlog();
        self.space.notify_one();
    }

    /// Whether the outlet has nothing left to do.
    pub fn is_finished(&mut self, id: OutletId) -> bool {
        let leaving = self.leaving.iter().any(|outlet| outlet.id == id);
        let waiting = !leaving && !self.backlog.is_empty();
        // What the disk keeps need not be waited for when the daemon ends.
        let leaves = *self.shared.stopping.borrow() && self.shared.spooler().is_some();
        let Some(outlet) = self.outlet(id) else { return true };
        let is_down = matches!(outlet.link(), Link::Down);
        let Some(deadline) = outlet.closing else { return false };
        let stuck = !outlet.link().is_up() || outlet.progress.elapsed() >= LINGER;
        let given_up = (Instant::now() >= deadline && stuck) || (leaves && is_down);
        let delivered = !waiting && outlet.is_delivered() && (leaving || !self.may_take_over());
        delivered || given_up
    }

    /// RoundRobin: whether a destination may still fail that has messages, which others then get.
    fn may_take_over(&mut self) -> bool {
        let mut up = self.outlets.iter_mut().filter(|outlet| outlet.link().is_up());
        self.mode == Mode::RoundRobin && up.any(|outlet| !outlet.is_delivered())
    }

    /// Takes the outlet away; with the last one the ended session is gone.
    pub fn remove(&mut self, id: OutletId) {
        self.leave_to_spool(id);
        self.leaving.retain(|outlet| outlet.id != id);
        if !self.ended {
            return;
        }
        // Only then: in a living session the places of the outlets are the router's targets.
        if let Some(outlet) = self.outlets.iter_mut().find(|outlet| outlet.id == id) {
            outlet.set_link(Link::Ended);
            self.finished += 1;
        }
        if self.finished >= self.outlets.len() && self.leaving.is_empty() {
            self.leave_backlog();
            self.shared.leave(self.number);
            if let Some(spool) = self.orphan.take() {
                spooling::sent(&self.shared, spool);
            }
        }
        spooling::adopt(&self.shared);
    }
}
