//! The chaos test by itself: a replay, or for as long as somebody wants.

use anyhow::Result;

use super::test_daemon;
use crate::step::Totals;

/// What `cargo xtask test --only chaos` takes.
#[derive(clap::Args)]
pub struct Chaos {
    /// chaos: begin with the run of this seed [default: that of three fixed ones]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// chaos: go on with the runs of the next seeds for so long
    #[arg(long)]
    seconds: Option<u64>,
}

/// Runs it; what happens in the runs is shown.
pub fn run(args: &Chaos) -> Result<Totals> {
    let given = [("IPFIX_CHAOS_SEED", args.seed), ("IPFIX_CHAOS_SECONDS", args.seconds)];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value?.to_string())));
    let test = ["--package=ipfix-balancer-tests", "--test=chaos", "--", "--nocapture"];
    test_daemon(&test, &given.collect::<Vec<_>>())
}
