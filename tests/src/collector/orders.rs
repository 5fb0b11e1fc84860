//! What the threads of a collector are told while they run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use socket2::{SockFilter, SockRef};

/// Told by the collector, followed by its threads within a tick.
#[derive(Debug, Default)]
pub(super) struct Orders {
    stop: AtomicBool,
    kill: AtomicBool,
    stall: AtomicBool,
    resets: AtomicUsize,
}

impl Orders {
    pub(super) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    pub(super) fn kill(&self) {
        self.kill.store(true, Relaxed);
    }

    pub(super) fn stall(&self, stalled: bool) {
        self.stall.store(stalled, Relaxed);
    }

    pub(super) fn reset(&self) {
        self.resets.fetch_add(1, Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub(super) fn is_killed(&self) -> bool {
        self.kill.load(Relaxed)
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stall.load(Relaxed)
    }

    /// How often connections were to be reset.
    pub(super) fn resets(&self) -> usize {
        self.resets.load(Relaxed)
    }
}

/// `BPF_RET | BPF_K`: the verdict on every packet.
const RETURN: u16 = 0x06;

/// Has the kernel drop what comes for a socket from now on, unacknowledged: what is in its buffer can
/// be read to the end.
pub(super) fn deafen(socket: &SockRef<'_>) -> std::io::Result<()> {
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])
}
