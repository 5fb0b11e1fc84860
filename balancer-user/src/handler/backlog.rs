//! Messages of a RoundRobin session that no destination can take at present, as they came.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use bytes::{Bytes, BytesMut};

/// Memory that a waiting message takes beside its own bytes.
const OVERHEAD: usize = 64;

/// Unrouted messages, oldest first.
#[derive(Debug)]
pub struct Backlog {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// Memory of all backlogs of the receiver.
    of_all: Rc<Cell<usize>>,
}

impl Backlog {
    /// An empty one, which adds to what the receiver's take `of_all`.
    pub fn new(of_all: Rc<Cell<usize>>) -> Backlog {
        Backlog { messages: VecDeque::new(), bytes: 0, of_all }
    }

    /// Appends a copy of `message`.
    pub fn push(&mut self, message: &[u8]) {
        self.grow(message.len());
        self.messages.push_back(Bytes::copy_from_slice(message));
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<BytesMut> {
        let message = self.messages.pop_front()?;
        self.shrink(cost(message.len()));
        Some(BytesMut::from(message))
    }

    /// Puts back what [`Backlog::pop`] took.
    pub fn put_back(&mut self, message: BytesMut) {
        self.grow(message.len());
        self.messages.push_front(message.freeze());
    }

    /// The messages that wait.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.messages.iter()
    }

    /// Memory that the waiting messages take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory that all backlogs of the receiver take, about.
    pub fn bytes_of_all(&self) -> usize {
        self.of_all.get()
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
    fn grow(&mut self, length: usize) {
        self.bytes += cost(length);
        self.of_all.set(self.of_all.get() + cost(length));
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.of_all.set(self.of_all.get() - bytes);
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

fn cost(length: usize) -> usize {
    length + OVERHEAD
}
