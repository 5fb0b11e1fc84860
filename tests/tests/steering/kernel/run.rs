//! `BPF_PROG_TEST_RUN`: a program decides about one packet, and nothing is sent.

use anyhow::{Context, Result};
use aya::{TestRun, TestRunOptions, TestRunResult};

use super::super::world::Hook;
use super::Kernel;

/// Room for what a program makes of a packet: they grow by metadata alone.
const ROOM: usize = 256;
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
    /// Octets of metadata before it.
    pub metadata: usize,
}

/// What a program made of a packet.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What it returned.
    pub code: u32,
    /// The packet now, after its metadata.
    pub frame: Vec<u8>,
}

impl Kernel {
    /// Runs the hook's program once.
    pub fn run(&mut self, hook: Hook, arrival: Arrival<'_>) -> Result<Ran> {
        let input = [&vec![0; arrival.metadata][..], arrival.frame].concat();
        let mut output = vec![0; input.len() + ROOM];
        let context = match hook {
            Hook::Xdp => xdp_context(&arrival, input.len())?,
            Hook::Ingress => skb_context(LO, arrival.segments),
            Hook::Host => skb_context(0, arrival.segments),
        };
        let options = TestRunOptions {
            data_in: Some(&input),
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

/// `struct xdp_md`: data, data_end, data_meta, and three words that are not set. The metadata are
/// the first octets of the input.
fn xdp_context(arrival: &Arrival<'_>, len: usize) -> Result<Option<Vec<u8>>> {
    if arrival.metadata == 0 {
        return Ok(None);
    }
    let words = [u32::try_from(arrival.metadata)?, u32::try_from(len)?, 0, 0, 0, 0];
    Ok(Some(words.iter().flat_map(|word| word.to_ne_bytes()).collect()))
}

/// `struct __sk_buff` with the fields that a test run takes.
pub fn skb_context(ingress: u32, segments: u32) -> Option<Vec<u8>> {
    let mut context = vec![0; SKB_LEN];
    for (at, word) in [(SKB_INGRESS, ingress), (SKB_SEGMENTS, segments)] {
        context.get_mut(at..at + 4)?.copy_from_slice(&word.to_ne_bytes());
    }
    Some(context)
}
