//! `BPF_PROG_TEST_RUN`: a program decides about one packet, and nothing is sent.

use anyhow::{Context, Result};
use aya::{TestRun, TestRunOptions, TestRunResult};

use super::super::world::Hook;
use super::Kernel;

/// Where the interface that a packet came in by stands in `struct __sk_buff`, and the number of
/// datagrams in it; and the structure's size.
const SKB_INGRESS: usize = 36;
const SKB_SEGMENTS: usize = 164;
const SKB_LEN: usize = 192;
/// The interface that every network namespace has.
const LO: u32 = 1;

/// A packet that a program is to decide about.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub frame: &'a [u8],
    /// Datagrams in it.
    pub segments: u32,
}

/// What a program made of a packet.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What it returned.
    pub code: u32,
    /// The packet now.
    pub frame: Vec<u8>,
}

impl Kernel {
    /// Runs the hook's program once.
    pub fn run(&mut self, hook: Hook, arrival: Arrival<'_>) -> Result<Ran> {
        let mut output = vec![0; arrival.frame.len()];
        let context = match hook {
            Hook::Xdp => None,
            Hook::Ingress => skb_context(LO, arrival.segments),
            Hook::Host => skb_context(0, arrival.segments),
        };
        let options = TestRunOptions {
            data_in: Some(arrival.frame),
            data_out: Some(&mut output),
            ctx_in: context.as_deref(),
            ..TestRunOptions::default()
        };
        let result = self.test(hook, options)?;
        output.truncate(usize::try_from(result.data_size_out)?);
        Ok(Ran { code: result.return_value, frame: output })
    }

    /// Runs the hook's program as the options say.
    pub fn test(&mut self, hook: Hook, options: TestRunOptions<'_>) -> Result<TestRunResult> {
        let result = match hook {
            Hook::Xdp => self.xdp("ipfix_xdp")?.test_run(options),
            Hook::Ingress | Hook::Host => self.tc()?.test_run(options),
        };
        result.with_context(|| format!("test run at {hook:?}"))
    }
}

/// `struct __sk_buff` with the fields that a test run takes.
pub fn skb_context(ingress: u32, segments: u32) -> Option<Vec<u8>> {
    let mut context = vec![0; SKB_LEN];
    for (at, word) in [(SKB_INGRESS, ingress), (SKB_SEGMENTS, segments)] {
        context.get_mut(at..at + 4)?.copy_from_slice(&word.to_ne_bytes());
    }
    Some(context)
}
