//! Counting, each CPU for itself.

use common::{
    maps::MAX_DESTINATIONS,
    reason::{PassUp, ReceiverCounters},
};

use super::maps::{DESTINATION_COUNTERS, RECEIVER_COUNTERS};

/// Counts a message that is forwarded, or copied.
#[inline(always)]
pub fn forwarded(receiver: u32, bytes: u64) {
    if let Some(counters) = RECEIVER_COUNTERS.get_ptr_mut(receiver) {
        // SAFETY: a pointer to this CPU's value; programs on a CPU do not interrupt each other here,
        // as they run in softirq context.
        unsafe {
            (*counters).messages += 1;
            (*counters).bytes += bytes;
        }
    }
}

/// Counts a message for the destination that it is sent to.
#[inline(always)]
pub fn sent(receiver: u32, destination: u32, bytes: u64) {
    let key = receiver * MAX_DESTINATIONS as u32 + destination;
    if let Some(counters) = DESTINATION_COUNTERS.get_ptr_mut(key) {
        // SAFETY: as in `forwarded`.
        unsafe {
            (*counters).messages += 1;
            (*counters).bytes += bytes;
        }
    }
}

/// Counts datagrams that are sent up.
#[inline(always)]
pub fn passed_up(receiver: u32, reason: PassUp, datagrams: u64) {
    if let Some(counters) = RECEIVER_COUNTERS.get_ptr_mut(receiver) {
        // SAFETY: as in `forwarded`; the counters are words in a row, and `LEN` of them were asserted
        // to be all of the value.
        unsafe {
            let word = counters.cast::<u64>().add(ReceiverCounters::FIRST_PASS_UP + reason.index());
            *word += datagrams;
        }
    }
}

/// Counts a datagram that is dropped for [`common::reason::Reason::Overload`].
#[inline(always)]
pub fn overload(receiver: u32) {
    if let Some(counters) = RECEIVER_COUNTERS.get_ptr_mut(receiver) {
        // SAFETY: as in `forwarded`.
        unsafe { (*counters).overload += 1 };
    }
}
