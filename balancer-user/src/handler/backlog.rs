//! Messages of a RoundRobin session that no destination can take at present, as they came.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Unrouted messages, oldest first.
#[derive(Debug, Default)]
pub struct Backlog {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

impl Backlog {
    /// Appends a copy of `message`.
    pub fn push(&mut self, message: &[u8]) {
        self.bytes += message.len();
        self.messages.push_back(Bytes::copy_from_slice(message));
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<BytesMut> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        Some(BytesMut::from(message))
    }

    /// Puts back what [`Backlog::pop`] took.
    pub fn put_back(&mut self, message: BytesMut) {
        self.bytes += message.len();
        self.messages.push_front(message.freeze());
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}
