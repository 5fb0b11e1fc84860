//! Buffers that TCP exporters are read into.

use std::collections::VecDeque;

use bytes::BytesMut;

/// Bytes of a buffer, and so what one read may bring.
pub const CHUNK: usize = 256 << 10;
/// Buffers that are kept for their return: 4 MiB, what a connection's send buffer holds at most.
/// More would only be memory that no cache has.
const MAX_LENT: usize = 16;

/// Buffers that are used one after another. Parts of them are lent to queues until a collector has
/// acknowledged them; then they are used again, so that in general none has to be allocated.
#[derive(Debug)]
pub struct Chunks {
    current: BytesMut,
    /// Buffers of which parts were lent when they had been filled, oldest first.
    lent: VecDeque<BytesMut>,
}

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks { current: BytesMut::with_capacity(CHUNK), lent: VecDeque::new() }
    }
}

impl Chunks {
    /// The buffer to read into. Empty between batches.
    pub fn current(&mut self) -> &mut BytesMut {
        &mut self.current
    }

    /// Makes sure that the current buffer has room for `room` bytes.
    pub fn prepare(&mut self, room: usize) {
        if self.current.try_reclaim(CHUNK) || self.current.capacity() >= room {
            return;
        }
        let returned = self.lent.iter_mut().position(|chunk| chunk.try_reclaim(CHUNK));
        let next = returned.and_then(|place| self.lent.remove(place));
        let next = next.unwrap_or_else(|| BytesMut::with_capacity(CHUNK));
        let filled = std::mem::replace(&mut self.current, next);
        if self.lent.len() < MAX_LENT {
            self.lent.push_back(filled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_all_its_parts_have_returned() {
        let mut chunks = Chunks::default();
        let mut lend = || {
            chunks.prepare(CHUNK);
            chunks.current().resize(CHUNK, 0);
            chunks.current().split().freeze()
        };
        let (first, second) = (lend(), lend());
        assert_ne!(first.as_ptr(), second.as_ptr());
        let place = first.as_ptr();
        drop(first);
        assert_eq!(lend().as_ptr(), place);
        drop(second);
    }
}
