//! From a packet's key to its observation domain's place.

use common::maps::Flow;

use super::{
    maps::{EVICTIONS, FLOWS, RECENT, RECENT_PLACES, Recent},
    packet::Key,
};

/// The place in `DOMAINS` of the domain that has this key. Messages come in runs of one session: what
/// was found last is found again without the hash map, which takes 20 ns more.
#[inline(always)]
pub fn domain(key: &Key) -> Option<u32> {
    // SAFETY: the value of a map, a word that the daemon changes as a whole.
    let evictions = unsafe { EVICTIONS.get_ptr(0)?.read_volatile() };
    let recent = RECENT.get_ptr_mut(key.hash() % RECENT_PLACES as u32)?;
    // SAFETY: this CPU's value; programs on a CPU do not interrupt each other here.
    let recent = unsafe { &mut *recent };
    // Only after an eviction can something else be true of the key: what is not known is not kept.
    if recent.evictions == evictions && recent.key == *key {
        return Some(recent.domain);
    }
    let domain = look_up(key.flow())?;
    *recent = Recent { key: *key, evictions, domain };
    Some(domain)
}

#[inline(always)]
fn look_up(flow: &Flow) -> Option<u32> {
    // SAFETY: the value is a number that the daemon writes once, when it adds the element.
    unsafe { FLOWS.get(flow) }.copied()
}
