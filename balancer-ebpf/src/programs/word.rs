//! The words of a hand-over, as a program accesses them.

use core::{
    cell::UnsafeCell,
    intrinsics::{AtomicOrdering, atomic_xadd, atomic_xchg},
};

use common::handover::Word;

/// A 32-bit word in a map.
#[repr(transparent)]
pub struct MapWord(UnsafeCell<u32>);

// SAFETY (each block below): the word is part of a map's value, which is aligned, and lives as long
// as the program runs. Others change it meanwhile: hence volatile or atomic access only.
impl Word for MapWord {
    #[inline(always)]
    fn load(&self) -> u32 {
        // SAFETY: see above.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    fn store(&self, value: u32) {
        // SAFETY: see above. A plain store: x86 lets nothing that was written or read before it come
        // after it, and all that a store has to be in order with is that. An exchange took 6 ns more.
        unsafe { self.0.get().write_volatile(value) };
    }

    #[inline(always)]
    fn swap(&self, value: u32) -> u32 {
        // SAFETY: see above.
        unsafe { atomic_xchg::<u32, { AtomicOrdering::AcqRel }>(self.0.get(), value) }
    }

    #[inline(always)]
    fn add(&self, count: u32) -> u32 {
        // SAFETY: see above. With the ordering Relaxed the compiler drops the result.
        unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::AcqRel }>(self.0.get(), count) }
            .wrapping_add(count)
    }
}
