//! Whether a receiver did what it has to, compared with what was sent.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Session;
use ipfix_balancer_tests::{decode, wire};

use super::captures::Capture;
use super::receiver::Receiver;

/// Compares everything that was sent with everything that was received.
pub fn check(receiver: &Receiver, captures: &[Capture]) -> Result<()> {
    receiver.check_sessions()?;
    let sessions: Vec<Vec<Session>> =
        receiver.collectors.iter().map(|collector| collector.sessions()).collect();
    for (number, place) in receiver.sent().into_iter().enumerate() {
        let sent = &captures.get(place).context("no such capture")?.messages;
        let mut received = Vec::new();
        for sessions in &sessions {
            let session = sessions.get(number).context("a session is missing")?;
            ensure!(session.rest.is_empty(), "session {number}: bytes that are no message");
            received.push(session.messages.as_slice());
        }
        let verdict =
            if receiver.kind.all { replicated(sent, &received) } else { balanced(sent, &received) };
        verdict.with_context(|| format!("session {number}"))?;
    }
    Ok(())
}

/// Every collector has exactly what was sent, in order and byte for byte.
fn replicated(sent: &[Vec<u8>], received: &[&[Vec<u8>]]) -> Result<()> {
    for (collector, received) in received.iter().enumerate() {
        let (found, due) = (received.len(), sent.len());
        ensure!(found == due, "collector {collector} has {found} messages instead of {due}");
        ensure!(*received == sent, "collector {collector} has other bytes than were sent");
    }
    Ok(())
}

/// Each flow record is at exactly one collector, options and templates are at all of them, the
/// sequence numbers add up, and each message is as it was sent but for its number.
///
/// A message that mixes templates or options with flow data goes whole to one collector, and the
/// rest gets those sets in a message of the balancer's own: so there may be messages that were not
/// sent. That none of them has flow data follows from the records.
fn balanced(sent: &[Vec<u8>], received: &[&[Vec<u8>]]) -> Result<()> {
    let decoded: Vec<_> = received.iter().map(|messages| decode::session(*messages)).collect();
    decode::round_robin(&decode::session(sent), &decoded)?;
    let mut copies: HashMap<Vec<u8>, usize> = HashMap::new();
    for message in received.iter().copied().flatten() {
        *copies.entry(wire::without_sequence(message)).or_default() += 1;
    }
    let mut times_sent: HashMap<Vec<u8>, usize> = HashMap::new();
    for message in sent {
        *times_sent.entry(wire::without_sequence(message)).or_default() += 1;
    }
    for (message, times) in times_sent {
        let found = copies.get(&message).copied().unwrap_or(0);
        let allowed = [times, times * received.len()];
        ensure!(allowed.contains(&found), "a message sent {times} times arrived {found} times");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ipfix_balancer_tests::exporter::Flows;

    use super::super::captures::with_sequence;

    use super::*;

    fn sent() -> Vec<Vec<u8>> {
        let mut flows = Flows::new(1);
        flows.session(2, 3)
    }

    /// What two collectors get of a template message and two data messages.
    fn halves() -> [Vec<Vec<u8>>; 2] {
        let sent = sent();
        [vec![sent[0].clone(), sent[1].clone()], vec![sent[0].clone(), with_sequence(&sent[2], 0)]]
    }

    #[test]
    fn a_right_split_is_right() {
        let [first, second] = halves();
        balanced(&sent(), &[&first, &second]).unwrap();
    }

    #[test]
    fn a_changed_byte_is_found() {
        let [first, mut second] = halves();
        // The export time: no record and no sequence number tells of it.
        second[1][7] ^= 1;
        let error = balanced(&sent(), &[&first, &second]).unwrap_err();
        assert!(error.to_string().contains("arrived 0 times"), "{error}");
    }

    #[test]
    fn a_message_twice_is_found() {
        let [first, mut second] = halves();
        second.push(with_sequence(&sent()[1], 3));
        assert!(balanced(&sent(), &[&first, &second]).is_err());
    }

    #[test]
    fn a_copy_that_is_missing_or_changed_is_found() {
        let sent = sent();
        replicated(&sent, &[&sent, &sent]).unwrap();
        assert!(replicated(&sent, &[&sent, &sent[1..]]).is_err());
        let mut changed = sent.clone();
        changed[2][11] ^= 1;
        assert!(replicated(&sent, &[&sent, &changed]).is_err());
    }
}
