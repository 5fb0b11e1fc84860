//! Descriptors that are kept for the next daemon, each under a name.
//!
//! systemd passes all names to the next daemon in one environment variable, which the kernel limits
//! to 128 KiB: with more, nothing could be started. So names are short, numbers to the base 36, and
//! there is a bound.

use std::{
    collections::BTreeSet,
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::warn;

use crate::{notify::Notifier, rate_limit::RateLimit};

/// Descriptors that are kept. Names of three characters and the separators fill two thirds of what
/// an environment variable may be. The unit's `FileDescriptorStoreMax=` is the same.
pub const MAX_KEPT: u32 = 20_000;
const BASE: u32 = 36;

/// Where descriptors are kept.
#[derive(Clone, Debug, Default)]
pub struct Store {
    notifier: Notifier,
    names: Arc<Mutex<Names>>,
}

/// A descriptor's place in the store. What is not released is there for the next daemon, whatever
/// becomes of this one.
#[derive(Debug)]
pub struct Place {
    number: u32,
    store: Store,
}

/// Numbers that are given.
#[derive(Debug, Default)]
struct Names {
    free: BTreeSet<u32>,
    next: u32,
    crowded: RateLimit,
}

impl Store {
    /// The service manager's store, where descriptors are already under these names.
    pub fn new<'a>(notifier: Notifier, taken: impl Iterator<Item = &'a str>) -> Store {
        let taken: BTreeSet<u32> = taken.filter_map(number).collect();
        let next = taken.last().map_or(0, |last| last + 1);
        let free = (0..next).filter(|number| !taken.contains(number)).collect();
        let names = Names { free, next, crowded: RateLimit::default() };
        Store { notifier, names: Arc::new(Mutex::new(names)) }
    }

    /// Puts a descriptor into the store; `None` where there is no store, or no room in it.
    pub fn keep(&self, descriptor: &impl AsFd) -> Option<Place> {
        if !self.notifier.is_connected() {
            return None;
        }
        let copy = descriptor.as_fd().try_clone_to_owned().ok()?;
        let number = self.names().take()?;
        self.notifier.keep(&name(number), copy);
        Some(Place { number, store: self.clone() })
    }

    /// Waits until what was released has been closed there.
    pub async fn settled(&self) {
        self.notifier.settled().await;
    }

    /// The place of a descriptor that came out of the store by this name.
    pub fn place(&self, name: &str) -> Option<Place> {
        Some(Place { number: number(name)?, store: self.clone() })
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The descriptor's name.
    pub fn name(&self) -> String {
        name(self.number)
    }

    /// Takes the descriptor out of the store: it is closed when the daemon closes it.
    pub fn release(self) {
        self.store.notifier.release(&self.name());
        self.store.names().free.insert(self.number);
    }
}

impl Names {
    fn take(&mut self) -> Option<u32> {
        if let Some(number) = self.free.pop_first() {
            return Some(number);
        }
        if self.next >= MAX_KEPT {
            if let Some(left_out) = self.crowded.pass() {
                warn!(
                    left_out,
                    "more than {MAX_KEPT} sockets: this connection would not survive a restart"
                );
            }
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }
}

fn name(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.extend(char::from_digit(number % BASE, BASE));
        number /= BASE;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

fn number(name: &str) -> Option<u32> {
    u32::from_str_radix(name, BASE).ok().filter(|number| *number < MAX_KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_once_and_again_after_their_release() {
        let mut names = Store::new(Notifier::default(), ["1", "3"].into_iter());
        assert_eq!(names.names().free, BTreeSet::from([0, 2]));
        let taken: Vec<_> = (0..4).map(|_| names.names().take().unwrap()).collect();
        assert_eq!(taken, [0, 2, 4, 5]);
        let place = names.place("2").unwrap();
        place.release();
        assert_eq!(names.names().take(), Some(2));
        names = Store::default();
        assert!(names.keep(&std::io::stdin()).is_none(), "there is nobody to keep it");
    }

    #[test]
    fn all_names_fit_into_an_environment_variable() {
        let bytes: usize = (0..MAX_KEPT).map(|number| name(number).len() + 1).sum();
        assert!(bytes < 128 << 10, "{bytes}");
        assert!((0..MAX_KEPT).all(|n| number(&name(n)) == Some(n)));
    }

    #[test]
    fn there_is_a_bound() {
        let store = Store::default();
        assert_eq!((0..).map_while(|_| store.names().take()).count(), 20_000);
    }
}
