//! Compares what was sent with what arrived.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail, ensure};

use super::{Decoded, Problem, Record};

/// How often each record is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally<'a>(BTreeMap<&'a Record, usize>);

impl<'a> Tally<'a> {
    /// Counts records.
    pub fn of(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut tally = BTreeMap::new();
        for record in records {
            *tally.entry(record).or_default() += 1;
        }
        Self(tally)
    }

    /// What `received` lacks of this, and what it has beyond it.
    pub fn difference(&self, received: &Self) -> Difference {
        Difference { missing: self.beyond(received), surplus: received.beyond(self) }
    }

    fn beyond(&self, other: &Self) -> usize {
        let more = |(record, count): (&&Record, &usize)| {
            count.saturating_sub(other.0.get(*record).copied().unwrap_or(0))
        };
        self.0.iter().map(more).sum()
    }
}

/// Records that are not where they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Sent and not received.
    pub missing: usize,
    /// Received and not sent, or more often than sent.
    pub surplus: usize,
}

impl Difference {
    /// True if nothing is missing and nothing is there twice.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records missing, {} too many", self.missing, self.surplus)
    }
}

/// Checks SPEC sections 3.3, 3.4 and 3.7 for one exporter session without losses: `sent`, and
/// what each destination got of it.
///
/// No destination has a problem to report; every flow record is at exactly one of them; every
/// options record is at each of them; and in each observation domain the destinations' sequence
/// numbers start at 0 and add up to the records sent plus the copies of options records.
pub fn round_robin(sent: &Decoded, received: &[Decoded]) -> Result<()> {
    for (index, destination) in received.iter().enumerate() {
        if let Some(problem) = destination.problems.first() {
            bail!("destination {index}: {problem}, and {} more", destination.problems.len() - 1);
        }
    }
    records_once(sent, received)?;
    sent.domains.keys().try_for_each(|domain| sequence_numbers(*domain, sent, received))
}

/// The part of [`round_robin`] that holds for exporters with gaps and missing templates as well:
/// every flow record at exactly one destination, every template and options record at each, and as
/// many data sets without a template as the exporter sent.
pub fn records_once(sent: &Decoded, received: &[Decoded]) -> Result<()> {
    for (index, destination) in received.iter().enumerate() {
        let options = Tally::of(sent.options()).difference(&Tally::of(destination.options()));
        ensure!(options.is_none(), "destination {index}, options records: {options}");
        templates_arrived(sent, destination).with_context(|| format!("destination {index}"))?;
        let malformed = |problem: &&Problem| matches!(problem, Problem::Malformed { .. });
        if let Some(problem) = destination.problems.iter().find(malformed) {
            bail!("destination {index}: {problem}");
        }
    }
    let all = Tally::of(received.iter().flat_map(Decoded::flows));
    let flows = Tally::of(sent.flows()).difference(&all);
    ensure!(flows.is_none(), "flow records over all destinations: {flows}");
    let unknown: usize = received.iter().map(Decoded::unknown_templates).sum();
    let expected = sent.unknown_templates();
    ensure!(unknown == expected, "{unknown} data sets without a template, {expected} were sent");
    Ok(())
}

/// More of them is no fault: a destination that connects anew gets them again.
fn templates_arrived(sent: &Decoded, received: &Decoded) -> Result<()> {
    let counts = [
        ("templates", sent.templates, received.templates),
        ("options templates", sent.options_templates, received.options_templates),
        ("withdrawals", sent.withdrawals, received.withdrawals),
    ];
    for (what, sent, received) in counts {
        ensure!(received >= sent, "{received} {what} of {sent}");
    }
    Ok(())
}

fn sequence_numbers(domain: u32, sent: &Decoded, received: &[Decoded]) -> Result<()> {
    let counts = sent.domains.get(&domain).cloned().unwrap_or_default();
    let expected = counts.flows + counts.options * received.len();
    let mut sum = 0;
    for (index, destination) in received.iter().enumerate() {
        let Some(found) = destination.domains.get(&domain) else { continue };
        let first = found.first_sequence;
        ensure!(first == 0, "destination {index}, domain {domain}: starts at {first}, not at 0");
        sum += usize::try_from(found.next_sequence.unwrap_or(0))?;
    }
    ensure!(
        sum == expected,
        "domain {domain}: the destinations' sequence numbers add up to {sum}, not to {expected}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::session;
    use super::*;
    use crate::exporter::{Flows, Message};
    use crate::wire;

    /// What two destinations would get of templates, options and four data messages.
    fn split() -> (Vec<Vec<u8>>, [Vec<Vec<u8>>; 2]) {
        let mut flows = Flows::new(5);
        let mut sent = vec![flows.templates(), flows.options_data(2)];
        sent.extend((0..4).map(|_| flows.data(3)));
        let place = |message: &Vec<u8>, sequence: u32| {
            let mut copy = message.clone();
            copy[8..12].copy_from_slice(&sequence.to_be_bytes());
            copy
        };
        let half = |first: usize| {
            vec![
                sent[0].clone(),
                sent[1].clone(),
                place(&sent[2 + first], 2),
                place(&sent[4 + first], 5),
            ]
        };
        let halves = [half(0), half(1)];
        (sent, halves)
    }

    fn verdict(sent: &[Vec<u8>], halves: &[Vec<Vec<u8>>; 2]) -> Result<()> {
        round_robin(&session(sent), &[session(&halves[0]), session(&halves[1])])
    }

    fn fault(halves: &[Vec<Vec<u8>>; 2], sent: &[Vec<u8>]) -> String {
        verdict(sent, halves).unwrap_err().to_string()
    }

    #[test]
    fn a_right_split_is_right() {
        let (sent, halves) = split();
        verdict(&sent, &halves).unwrap();
    }

    #[test]
    fn a_lost_message_is_a_gap() {
        let (sent, mut halves) = split();
        halves[0].remove(2);
        assert!(fault(&halves, &sent).contains("sequence number 5 instead of 2"));
    }

    #[test]
    fn a_lost_last_message_is_missing() {
        let (sent, mut halves) = split();
        halves[1].pop();
        assert!(fault(&halves, &sent).contains("3 records missing, 0 too many"));
    }

    #[test]
    fn a_message_at_both_is_too_many() {
        let (sent, mut halves) = split();
        let mut twice = sent[3].clone();
        twice[8..12].copy_from_slice(&8_u32.to_be_bytes());
        halves[0].push(twice);
        assert!(fault(&halves, &sent).contains("0 records missing, 3 too many"));
    }

    #[test]
    fn missing_templates_and_options_are_found() {
        let (sent, mut halves) = split();
        let options = halves[1].remove(1);
        assert!(fault(&halves, &sent).contains("instead of 0"));
        halves[1].insert(1, options);
        halves[1].remove(0);
        assert!(fault(&halves, &sent).contains("no template 258"));
    }

    #[test]
    fn a_start_elsewhere_than_0_is_found() {
        let (sent, mut halves) = split();
        for message in &mut halves[0] {
            let moved = wire::sequence(message).unwrap() + 7;
            message[8..12].copy_from_slice(&moved.to_be_bytes());
        }
        assert!(fault(&halves, &sent).contains("starts at 7"));
    }

    #[test]
    fn a_number_too_high_at_the_end_does_not_add_up() {
        let (sent, mut halves) = split();
        halves[0].push(Message::new(5, 9).build());
        assert!(fault(&halves, &sent).contains("sequence number 9 instead of 8"));
    }
}
