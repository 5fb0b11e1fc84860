//! The counters of the receiver and its destinations, of all CPUs together.

use anyhow::Result;
use common::maps::{DestinationCounters, MAX_DESTINATIONS, place};
use common::reason::{PassUp, ReceiverCounters};

use super::{Kernel, RECEIVER};

const DESTINATION_WORDS: usize = size_of::<DestinationCounters>() / size_of::<u64>();

/// Counters, or what they have grown by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// As in [`ReceiverCounters`].
    pub receiver: [u64; ReceiverCounters::LEN],
    /// As in [`DestinationCounters`].
    pub destinations: [[u64; DESTINATION_WORDS]; MAX_DESTINATIONS],
}

impl Counters {
    /// Words of [`ReceiverCounters`].
    pub const RECEIVER_WORDS: usize = ReceiverCounters::LEN;

    /// Nothing.
    pub fn zero() -> Self {
        Self {
            receiver: [0; Self::RECEIVER_WORDS],
            destinations: [[0; DESTINATION_WORDS]; MAX_DESTINATIONS],
        }
    }

    /// A message of so many octets was forwarded.
    pub fn forwarded(mut self, octets: usize) -> Self {
        add(&mut self.receiver, &[1, wide(octets)]);
        self
    }

    /// It was sent to this destination.
    pub fn sent(mut self, destination: usize, octets: usize) -> Self {
        if let Some(counters) = self.destinations.get_mut(destination) {
            add(counters, &[1, wide(octets)]);
        }
        self
    }

    /// So many datagrams were sent up.
    pub fn passed_up(mut self, reason: PassUp, datagrams: u32) -> Self {
        let counters = self.receiver.get_mut(ReceiverCounters::FIRST_PASS_UP + reason.index()..);
        add(counters.unwrap_or_default(), &[datagrams.into()]);
        self
    }

    /// A datagram was dropped.
    pub fn overload(mut self) -> Self {
        add(&mut self.receiver, &[0, 0, 1]);
        self
    }

    /// What has been added since.
    pub fn since(mut self, before: &Self) -> Self {
        subtract(&mut self.receiver, &before.receiver);
        for (counters, before) in self.destinations.iter_mut().zip(&before.destinations) {
            subtract(counters, before);
        }
        self
    }

    /// As they are now.
    pub fn read(kernel: &mut Kernel) -> Result<Self> {
        let mut counters = Self::zero();
        let map = kernel.per_cpu::<[u64; Self::RECEIVER_WORDS]>("RECEIVER_COUNTERS")?;
        for words in map.get(&RECEIVER, 0)?.iter() {
            add(&mut counters.receiver, words);
        }
        let map = kernel.per_cpu::<[u64; DESTINATION_WORDS]>("DESTINATION_COUNTERS")?;
        for (number, counters) in (0..).zip(&mut counters.destinations) {
            for words in map.get(&(place(RECEIVER, number, 0) / 2), 0)?.iter() {
                add(counters, words);
            }
        }
        Ok(counters)
    }
}

fn add(counters: &mut [u64], words: &[u64]) {
    counters.iter_mut().zip(words).for_each(|(counter, word)| *counter += word);
}

fn subtract(counters: &mut [u64], words: &[u64]) {
    counters
        .iter_mut()
        .zip(words)
        .for_each(|(counter, word)| *counter = counter.wrapping_sub(*word));
}

fn wide(octets: usize) -> u64 {
    u64::try_from(octets).unwrap_or(u64::MAX)
}
