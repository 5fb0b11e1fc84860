//! The random numbers of a seed, the same for the same seed.

use std::time::Duration;

use anyhow::{Result, anyhow};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Draws them.
pub struct Dice(TestRunner);

impl Dice {
    /// Those of this seed.
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self(TestRunner::new_with_rng(Config::default(), random))
    }

    /// A number from `first` to `last`.
    pub fn number(&mut self, first: u64, last: u64) -> Result<u64> {
        let drawn = (first..=last).new_tree(&mut self.0).map_err(|reason| anyhow!("{reason}"))?;
        Ok(drawn.current())
    }

    /// One of these.
    pub fn one<T: Copy>(&mut self, all: &[T]) -> Result<T> {
        let last = u64::try_from(all.len())? - 1;
        Ok(all[usize::try_from(self.number(0, last)?)?])
    }

    /// A time of these milliseconds.
    pub fn millis(&mut self, (first, last): (u64, u64)) -> Result<Duration> {
        Ok(Duration::from_millis(self.number(first, last)?))
    }
}
