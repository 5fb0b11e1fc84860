//! The captures to replay: each is what one exporter sent in one session.

use anyhow::{Result, ensure};
use ipfix_balancer_tests::corpus;
use ipfix_balancer_tests::decode::{self, Problem};
use ipfix_balancer_tests::wire;

/// Where the sequence number stands in a message.
const SEQUENCE: std::ops::Range<usize> = 8..12;

/// Messages of one exporter, with all the templates that they need.
#[derive(Clone, Debug)]
pub struct Capture {
    pub messages: Vec<Vec<u8>>,
    /// Data records in them.
    pub records: usize,
}

/// What the corpus has, and how many of its files are of no use alone (templates without data, or
/// data without templates) and were joined to their neighbour or left out.
pub fn load() -> Result<Vec<Capture>> {
    let mut captures: Vec<Capture> = Vec::new();
    let mut before: Vec<Vec<u8>> = Vec::new();
    for file in corpus::valid()? {
        let joined = [before.clone(), file.messages.clone()].concat();
        // Templates and data of one exporter are often in two files, the templates first.
        if let Some(capture) = usable(&file.messages).or_else(|| usable(&joined)) {
            captures.push(capture);
        }
        before = file.messages;
    }
    ensure!(!captures.is_empty(), "the corpus has nothing to replay");
    Ok(captures)
}

/// The messages as a session, if they have data and all of it can be decoded.
fn usable(messages: &[Vec<u8>]) -> Option<Capture> {
    let decoded = decode::session(messages);
    let wrong = |problem: &&Problem| !matches!(problem, Problem::Sequence { .. });
    if decoded.records.is_empty() || decoded.problems.iter().any(|problem| wrong(&problem)) {
        return None;
    }
    let messages = renumbered(messages, &decoded.problems);
    Some(Capture { messages, records: decoded.records.len() })
}

/// The messages with sequence numbers from 0 on and without gaps: a capture begins anywhere, and
/// those that were made of single messages jump. `problems` are those of the old numbers.
fn renumbered(messages: &[Vec<u8>], problems: &[Problem]) -> Vec<Vec<u8>> {
    let mut last = std::collections::HashMap::new();
    let number = |(place, message): (usize, &Vec<u8>)| {
        let (domain, old) = (wire::domain(message), wire::sequence(message).unwrap_or(0));
        let due = problems.iter().find_map(|problem| match problem {
            Problem::Sequence { message, expected, .. } if *message == place => Some(*expected),
            _ => None,
        });
        let new = last.get(&domain).map_or(0, |(last_old, last_new): &(u32, u32)| {
            last_new.wrapping_add(due.unwrap_or(old).wrapping_sub(*last_old))
        });
        last.insert(domain, (old, new));
        with_sequence(message, new)
    };
    messages.iter().enumerate().map(number).collect()
}

/// The message with another sequence number.
pub fn with_sequence(message: &[u8], sequence: u32) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(number) = message.get_mut(SEQUENCE) {
        number.copy_from_slice(&sequence.to_be_bytes());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capture_decodes_without_a_fault() {
        for capture in load().unwrap() {
            let decoded = decode::session(&capture.messages);
            assert_eq!(decoded.problems, []);
            assert!(decoded.domains.values().all(|domain| domain.first_sequence == 0));
            assert_eq!(decoded.records.len(), capture.records);
        }
    }

    #[test]
    fn most_of_the_corpus_is_replayed() {
        let captures = load().unwrap();
        assert!(captures.len() >= 12, "{}", captures.len());
        assert!(captures.iter().map(|capture| capture.messages.len()).sum::<usize>() > 450);
    }
}
