//! What a packet must leave behind: state and counters, from what the table says of it.

use anyhow::{Context, Result};
use common::maps::mark;
use common::reason::PassUp;
use common::sequence::FIRST;
use ipfix_balancer_tests::wire;

use super::super::case::{Daemon, Step, Verdict};
use super::super::world::{Hook, State, World};
use super::Counters;

/// The state after a packet.
pub fn state(before: &State, step: &Step) -> Result<State> {
    let mut after = before.clone();
    match step.verdict {
        Verdict::One { to, .. } => {
            give(&mut after, step, u32::try_from(to)?)?;
            after.forwarded += 1;
        }
        Verdict::Everyone => after.forwarded += 1,
        Verdict::Up(PassUp::UnknownSession) => {}
        Verdict::Up(reason) => {
            // Refused at the very end, copies have left a sign of life.
            let everyone = reason == PassUp::Refused && step.daemon == Daemon::Everyone;
            after.forwarded += u32::from(everyone);
            pass(&mut after, step, reason);
        }
        Verdict::Ignored | Verdict::Overload | Verdict::Moved => {}
    }
    Ok(after)
}

/// The records that came since the last message are those of who had it.
fn give(state: &mut State, step: &Step, to: u32) -> Result<()> {
    let sequence = wire::sequence(&step.datagram).context("no message")?;
    let holder = if state.line.holder == FIRST { to } else { state.line.holder };
    if let Some(number) = state.outgoing.get_mut(usize::try_from(holder)?) {
        *number = number.wrapping_add(sequence.wrapping_sub(state.line.credited));
    }
    state.line.credited = sequence;
    state.line.holder = to;
    state.turn = to + 1;
    Ok(())
}

/// The datagrams are counted; flow data that had to wait is marked if the daemon has asked for that.
fn pass(state: &mut State, step: &Step, reason: PassUp) {
    let words = &mut state.handover;
    words.passed = words.passed.wrapping_add(step.segments);
    if reason == PassUp::Pending && words.wanted != words.marked {
        words.marked = words.wanted;
        words.mark_number = words.passed;
        state.mark = mark(&step.datagram);
    }
}

/// What a packet is counted as.
pub fn counters(world: &World, hook: Hook, step: &Step) -> Counters {
    let octets = step.datagram.len();
    let counted = Counters::zero();
    match step.verdict {
        Verdict::One { to, .. } => counted.forwarded(octets).sent(to, octets),
        // At XDP copies are counted when they are made.
        Verdict::Everyone if hook == Hook::Xdp => counted.forwarded(octets),
        Verdict::Everyone => {
            let each = |counted: Counters, to| counted.sent(to, octets);
            (0..world.destinations).fold(counted.forwarded(octets), each)
        }
        Verdict::Up(reason) => counted.passed_up(reason, step.segments),
        Verdict::Overload => counted.overload(),
        Verdict::Ignored | Verdict::Moved => counted,
    }
}
