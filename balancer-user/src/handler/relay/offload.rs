//! The session and the kernel path: who has its state.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::Relay;
use crate::{
    config::Mode,
    kernel::{Offload, Orphan, Session},
    output::Outlet,
    session::{Targets, bit},
};

impl Relay {
    /// Makes the session's state ours. To be called before anything that reads or changes it.
    pub fn own(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.take(&mut self.router);
        }
    }

    /// Makes the session's state ours, and takes note of a datagram that is about to be taken apart.
    pub fn came_up(&mut self, local: Option<IpAddr>, datagram: &[u8]) {
        if let Some(local) = local {
            self.local.set_ip(local.to_canonical());
        }
        if self.kernel.is_none() {
            self.enter_kernel_path();
        }
        self.own();
        if let Some(kernel) = &mut self.kernel {
            kernel.handle(local, datagram);
        }
    }

    /// Whether what the kernel path has forwarded must have left before anything more is sent: a
    /// template was redefined that it was encoded by.
    pub fn must_let_pass(&mut self) -> bool {
        self.router.take_redefined() && self.kernel.is_some()
    }

    /// Gives the session's state to the kernel path, if there is nothing left to do for us. To be
    /// called after everything that was routed has been sent.
    pub fn hand_over(&mut self) {
        if self.kernel.is_none() || !self.is_steerable() {
            return;
        }
        let takers = self.takers();
        let sources: Vec<_> = self.outlets.iter().map(Outlet::local).collect();
        if let Some(kernel) = &mut self.kernel {
            kernel.give(&self.router, takers, &sources);
        }
    }

    /// Looks after the hand-over, many times a second.
    pub fn look_after(&mut self, overloaded: bool) {
        if let Some(kernel) = &mut self.kernel {
            kernel.look_after(overloaded);
        }
    }

    /// Whether the kernel path, as far as it has the session, sends to this destination.
    pub fn is_taker(&self, target: usize) -> bool {
        self.kernel.as_ref().is_none_or(|kernel| kernel.takers() & bit(target) != 0)
    }

    /// Whether the kernel path has forwarded anything since the last call.
    pub fn is_forwarded(&mut self) -> bool {
        self.kernel.as_mut().is_some_and(Session::was_active)
    }

    /// Goes on with the session that a daemon before this one has left to the kernel path.
    pub fn adopt(&mut self, offload: &Arc<Offload>, orphan: &Orphan) {
        self.kernel = Session::adopt(offload, orphan);
        for (outlet, source) in self.outlets.iter_mut().zip(&orphan.sources) {
            outlet.source = *source;
        }
    }

    /// Leaves the kernel path, if the receiver has no place in it any more.
    pub fn follow_offload(&mut self) {
        if self.shared.offload.borrow().is_none() {
            self.leave_kernel_path();
        }
    }

    /// Takes the session out of the kernel path.
    pub fn leave_kernel_path(&mut self) {
        self.own();
        if let Some(kernel) = self.kernel.take() {
            kernel.close();
        }
    }

    fn enter_kernel_path(&mut self) {
        let offload = self.shared.offload.borrow().clone();
        if let Some(offload) = offload
            && !self.ended
        {
            self.kernel = Session::open(&offload, self.peer);
        }
    }

    /// Whether nothing waits anywhere, and the kernel path would do as we do.
    fn is_steerable(&self) -> bool {
        let offload = self.shared.offload.borrow();
        let Some(offload) = offload.as_ref() else { return false };
        let collectors: Vec<_> =
            self.outlets.iter().map(|outlet| outlet.ends.map(|(_, remote)| remote)).collect();
        !self.ended
            && self.backlog.is_empty()
            && !self.is_settling()
            && self.outlets.iter().all(|outlet| self.is_ready(outlet))
            && offload.leads_to(&collectors)
    }

    /// Whether the kernel path would do for this destination as we do. One that is down takes no turns
    /// (RoundRobin), or has all kept for it here (All).
    fn is_ready(&self, outlet: &Outlet) -> bool {
        if !outlet.link().is_up() {
            return self.mode == Mode::RoundRobin;
        }
        let like_peer = |(local, _): (SocketAddr, _)| local.is_ipv4() == self.peer.is_ipv4();
        !outlet.has_waiting() && outlet.ends.is_some_and(like_peer)
    }

    fn takers(&self) -> Targets {
        let up = self.outlets.iter().enumerate().filter(|(_, outlet)| outlet.link().is_up());
        up.fold(0, |takers, (target, _)| takers | bit(target))
    }
}
