//! What of the bench has no safe form: words shared between processes, many datagrams per call,
//! priorities, and values of the kernel path's maps as bytes. All `unsafe` code of this crate stands
//! here.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use common::maps;

/// How many words are shared.
pub const WORDS: usize = 512;

type Words = [AtomicU64; WORDS];

/// Words in a file that several processes map.
#[derive(Debug)]
pub struct SharedWords {
    address: NonNull<Words>,
}

impl SharedWords {
    /// Maps the file, which becomes long enough if it is not.
    pub fn map(file: &File) -> io::Result<Self> {
        let length = size_of::<Words>();
        file.set_len(u64::try_from(length).map_err(io::Error::other)?)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing of ours; the
        // descriptor is open, and the kernel checks the rest.
        let address = unsafe {
            libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mmap: null"))?;
        Ok(Self { address })
    }

    /// The words.
    pub fn get(&self) -> &Words {
        // SAFETY: the mapping is page aligned and lives as long as `self`; the file was made as
        // long as it in `map`, and all who open it set that same length. Any bits are a value of
        // `AtomicU64`, and every process changes the words through that type alone.
        unsafe { self.address.as_ref() }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `map`, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.address.as_ptr().cast(), size_of::<Words>()) };
    }
}

/// Buffers for receiving many datagrams with one call.
pub struct Receiver {
    buffers: Vec<Vec<u8>>,
}

impl Receiver {
    /// `count` buffers of `size` bytes.
    pub fn new(count: usize, size: usize) -> Self {
        Self { buffers: vec![vec![0; size]; count] }
    }

    /// Waits for a datagram (as long as the socket's time-out says), takes what else is there, and
    /// hands each to `each`.
    pub fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut vectors: Vec<libc::iovec> = self.buffers.iter_mut().map(|b| vector(b)).collect();
        let mut headers: Vec<libc::mmsghdr> = vectors.iter_mut().map(header).collect();
        let count = libc::c_uint::try_from(headers.len()).unwrap_or(libc::c_uint::MAX);
        let flags = libc::MSG_WAITFORONE;
        // SAFETY: `headers` holds `count` headers, each with one vector in `vectors`, which names a
        // buffer and its length; all of them live and are not touched during the call.
        let received = unsafe {
            let headers = headers.as_mut_ptr();
            libc::recvmmsg(socket.as_raw_fd(), headers, count, flags, ptr::null_mut())
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (header, buffer) in headers.iter().zip(&self.buffers).take(received) {
            let length = usize::try_from(header.msg_len).unwrap_or(0);
            each(buffer.get(..length).unwrap_or(buffer));
        }
        Ok(())
    }
}

/// Sends each of `messages` as a datagram on a connected socket; how many went out.
pub fn send_many(socket: BorrowedFd<'_>, messages: &mut [&mut [u8]]) -> io::Result<usize> {
    let mut vectors: Vec<libc::iovec> = messages.iter_mut().map(|m| vector(m)).collect();
    let mut headers: Vec<libc::mmsghdr> = vectors.iter_mut().map(header).collect();
    let count = libc::c_uint::try_from(headers.len()).unwrap_or(libc::c_uint::MAX);
    // SAFETY: as in `receive`; the kernel only reads the messages.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn vector(buffer: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() }
}

fn header(vector: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: all-zero bytes are a valid `mmsghdr`: null pointers and lengths of 0.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header
}

/// Lets a thread go before all that have no such priority, or a lower one; 0 is the calling thread.
/// Priority 0 takes that back.
pub fn go_first(thread: u32, priority: i32) -> io::Result<()> {
    let thread = libc::pid_t::try_from(thread).map_err(io::Error::other)?;
    let policy = if priority == 0 { libc::SCHED_OTHER } else { libc::SCHED_RR };
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the kernel reads the parameters, which live during the call, and nothing else.
    let result = unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A key or value of the kernel path's maps.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Plain<T>(pub T);

// SAFETY: numbers and arrays of numbers with a C layout that has no padding, which `common::maps`
// asserts: every byte is initialised, and any bytes are a value.
unsafe impl aya::Pod for Plain<maps::Flow> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<maps::Domain> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<maps::Session> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<maps::Receiver> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<maps::Destination> {}
