//! Waiting for what the kernel is in the middle of.

use std::{io, thread, time::Duration};

/// How long a round of packet processing takes at most, where the kernel does not let us wait for it.
const LONG_ENOUGH: Duration = Duration::from_millis(5);

/// Waits until everything that network drivers were doing when this was called is done: packets that
/// programs have redirected until then have left. The kernel collects redirected packets and sends them
/// when the driver's poll ends, while a packet of the same poll may have reached our socket already.
pub fn wait_for_packets_in_hand() {
    if membarrier().is_err() {
        // With CPUs that have no clock tick (`nohz_full`) the kernel refuses.
        thread::sleep(LONG_ENOUGH);
    }
}

/// Lets every CPU pass through a moment in which it handles no packet (an RCU grace period).
fn membarrier() -> io::Result<()> {
    /// `MEMBARRIER_CMD_GLOBAL` of linux/membarrier.h.
    const GLOBAL: libc::c_int = 1;
    const FLAGS: libc::c_uint = 0;
    const CPU: libc::c_int = 0;
    // SAFETY: the call takes three numbers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, FLAGS, CPU) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back() {
        wait_for_packets_in_hand();
    }
}
