//! Maps whose values the daemon reads and writes in place, while programs work on them.

use std::{
    io,
    marker::PhantomData,
    mem::{MaybeUninit, offset_of},
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use common::{
    handover::Handover,
    maps::{Destination, Domain, Receiver, Session, Source},
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The kernel aligns the values of an array to this.
const VALUE_ALIGN: usize = 8;

/// A type that can be read and written word by word.
///
/// # Safety
///
/// It has no padding, every bit pattern is a value, and its size is a multiple of 4.
pub unsafe trait Words: Copy {}

// SAFETY: integers and arrays of integers alone, `repr(C)`, without padding: the size asserted in
// `common::maps` is the sum of its fields'.
unsafe impl Words for Session {}
// SAFETY: as for Session.
unsafe impl Words for Domain {}
// SAFETY: as for Session.
unsafe impl Words for Receiver {}
// SAFETY: as for Session.
unsafe impl Words for Destination {}
// SAFETY: as for Session.
unsafe impl Words for Source {}
// SAFETY: one word.
unsafe impl Words for u32 {}

/// An array map in the daemon's memory.
pub struct SharedArray<T> {
    base: NonNull<u8>,
    len: usize,
    values: PhantomData<T>,
}

// SAFETY: the memory is mapped as long as the value lives, and accessed by atomic operations alone, as
// the kernel's programs run at any time on any CPU.
unsafe impl<T> Send for SharedArray<T> {}
// SAFETY: as for Send.
unsafe impl<T> Sync for SharedArray<T> {}

impl<T: Words> SharedArray<T> {
    const STRIDE: usize = size_of::<T>().next_multiple_of(VALUE_ALIGN);

    /// Maps an array of `len` values, made with `BPF_F_MMAPABLE`.
    pub fn map(map: impl AsFd, len: usize) -> io::Result<SharedArray<T>> {
        let size = NonZeroUsize::new(len * Self::STRIDE).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; the kernel refuses one that is
        // larger than the map's memory, rounded up to pages.
        let base = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(SharedArray { base: base.cast(), len, values: PhantomData })
    }

    /// A copy of a value, word by word.
    pub fn load(&self, index: u32) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        let words = value.as_mut_ptr().cast::<u32>();
        for word in 0..size_of::<T>() / 4 {
            let current = self.word(index, word * 4)?.load(Relaxed);
            // SAFETY: `word` is below the number of words in a T.
            unsafe { words.add(word).write_unaligned(current) };
        }
        // SAFETY: `Words` says that all of it has been written, and that any pattern is a value.
        Some(unsafe { value.assume_init() })
    }

    /// Writes a value, word by word.
    pub fn store(&self, index: u32, value: &T) {
        self.store_part(index, 0, value);
    }

    /// Writes what stands at `offset` bytes of a value, word by word.
    pub fn store_part<P: Words>(&self, index: u32, offset: usize, part: &P) {
        let words = std::ptr::from_ref(part).cast::<u32>();
        for word in 0..size_of::<P>() / 4 {
            let Some(place) = self.word(index, offset + word * 4) else { return };
            // SAFETY: `word` is below the number of words in a P, all of which are initialised.
            place.store(unsafe { words.add(word).read_unaligned() }, Relaxed);
        }
    }

    /// The word at `offset` bytes of a value.
    pub fn word(&self, index: u32, offset: usize) -> Option<&AtomicU32> {
        let word = self.at(index, offset, size_of::<u32>())?.cast::<AtomicU32>();
        // SAFETY: `at` has compared it with the mapping, and it is aligned. The reference lives no
        // longer than the mapping.
        Some(unsafe { word.as_ref() })
    }

    /// A place of `len` bytes within a value, aligned to 4.
    fn at(&self, index: u32, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let index = usize::try_from(index).ok().filter(|index| *index < self.len)?;
        if !offset.is_multiple_of(4) || offset + len > size_of::<T>() {
            return None;
        }
        // SAFETY: within the mapping, which has `len` strides; it begins at a page, and strides are
        // multiples of 8.
        Some(unsafe { self.base.add(index * Self::STRIDE + offset) })
    }
}

impl SharedArray<Session> {
    /// The words that settle who may touch a session's state.
    pub fn handover(&self, index: u32) -> Option<&Handover<AtomicU32>> {
        let len = size_of::<Handover<AtomicU32>>();
        let words = self.at(index, offset_of!(Session, handover), len)?;
        // SAFETY: `at` has compared it with the mapping. `Handover<AtomicU32>` has the layout of
        // `Handover<u32>`, as AtomicU32 has that of u32.
        Some(unsafe { words.cast::<Handover<AtomicU32>>().as_ref() })
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        let size = self.len * size_of::<T>().next_multiple_of(VALUE_ALIGN);
        // SAFETY: the mapping that `map` made; references into it can't live any more. An error would
        // leave memory mapped, and there is nobody to tell.
        let _ = unsafe { munmap(self.base.cast(), size) };
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::CStr, fs::File};

    use nix::{
        sys::memfd::{MFdFlags, memfd_create},
        unistd::ftruncate,
    };

    use super::*;

    /// Memory of the size that a map of `len` values has, with nothing behind it.
    fn array<T: Words>(len: usize) -> SharedArray<T> {
        const NAME: &CStr = c"map";
        let file = File::from(memfd_create(NAME, MFdFlags::empty()).unwrap());
        ftruncate(&file, i64::try_from(len * SharedArray::<T>::STRIDE).unwrap()).unwrap();
        SharedArray::map(&file, len).unwrap()
    }

    #[test]
    fn values_are_read_as_they_were_written_and_nothing_beside_them_is() {
        let places: SharedArray<u32> = array(3);
        for (index, value) in [(0, 7), (2, 9), (3, 11), (u32::MAX, 13)] {
            places.store(index, &value);
        }
        let read: Vec<_> = [0, 1, 2, 3, u32::MAX].map(|index| places.load(index)).into();
        assert_eq!(read, [Some(7), Some(0), Some(9), None, None]);
    }

    #[test]
    fn a_part_of_a_value_ends_where_the_value_does() {
        let destinations: SharedArray<Destination> = array(2);
        let whole = Destination { interface: 5, mtu: 1500, ..Destination::default() };
        destinations.store(1, &whole);
        assert_eq!(
            (destinations.load(0), destinations.load(1)),
            (Some(Destination::default()), Some(whole))
        );
        destinations.store_part(1, offset_of!(Destination, mtu), &9000);
        assert_eq!(destinations.load(1), Some(Destination { mtu: 9000, ..whole }));
        let end = size_of::<Destination>();
        for offset in [1, end - 2, end, end + 4] {
            assert!(destinations.word(1, offset).is_none(), "{offset}");
            destinations.store_part(1, offset, &1_u32);
        }
        assert!(destinations.load(2).is_none());
    }

    #[test]
    fn the_words_of_a_session_are_the_sessions() {
        let sessions: SharedArray<Session> = array(2);
        let handover = sessions.handover(1).unwrap();
        assert_eq!(std::ptr::from_ref(handover).align_offset(8), 0);
        let word = sessions.word(1, offset_of!(Session, handover)).unwrap();
        word.store(3, Relaxed);
        assert!(sessions.handover(2).is_none());
        let whole = sessions.load(1).unwrap();
        sessions.store(0, &whole);
        assert_eq!(sessions.word(0, offset_of!(Session, handover)).unwrap().load(Relaxed), 3);
    }
}
