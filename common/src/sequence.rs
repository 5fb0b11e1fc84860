//! Sequence numbers under RoundRobin: one number line in, one for each destination out.
//!
//! The sequence number of a message is the count of data records sent before it (RFC 7011 section
//! 3.1), so the records of a message are the difference between the next message's number and its
//! own. That difference is credited to the destination that had the message when the next one
//! comes: no record is parsed, and what was lost on the way here shows at exactly one collector, as
//! a gap of the right size. All arithmetic is modulo 2^32.

/// [`Sequence::holder`] before the first message is given: what was lost until then shows at the
/// destination that gets it.
pub const FIRST: u32 = u32::MAX;
/// [`Sequence::holder`] when the destination that had the last message is no more: its records are
/// nobody's.
pub const GONE: u32 = u32::MAX - 1;

/// The incoming number line of one (exporter session, observation domain).
///
/// The outgoing numbers, one a destination, are passed to each call: in the kernel they stand in a
/// map value of fixed size, in the daemon in as many words as there are destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Sequence {
    /// Incoming number up to which every record has been credited.
    pub credited: u32,
    /// Destination that gets the credit for what follows, or [`FIRST`], or [`GONE`].
    pub holder: u32,
}

impl Sequence {
    /// A line that starts at `sequence`, the number of the first message seen.
    pub fn starting_at(sequence: u32) -> Sequence {
        Sequence { credited: sequence, holder: FIRST }
    }

    /// Credits the records before `sequence`, the number of a message that has just come, to the
    /// destination that had the last one.
    #[inline]
    pub fn credit(&mut self, outgoing: &mut [u32], sequence: u32) {
        if self.holder == FIRST {
            return;
        }
        let records = sequence.wrapping_sub(self.credited);
        if let Some(number) = outgoing.get_mut(self.holder as usize) {
            *number = number.wrapping_add(records);
        }
        self.credited = sequence;
    }

    /// Gives the message numbered `sequence` to `destination`; the number it leaves with.
    /// `None` where there is no such destination.
    #[inline]
    pub fn give(&mut self, outgoing: &mut [u32], sequence: u32, destination: u32) -> Option<u32> {
        if self.holder == FIRST {
            self.holder = destination;
        }
        self.credit(outgoing, sequence);
        let number = *outgoing.get(destination as usize)?;
        self.holder = destination;
        Some(number)
    }

    /// Accounts for `records` options records of the message numbered `sequence` that went to more
    /// than one destination: the incoming line moves past them. The caller has credited the
    /// message before and adds to each destination's number what it was sent.
    #[inline]
    pub fn skip(&mut self, records: u32) {
        self.credited = self.credited.wrapping_add(records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_destinations_in_turn_see_continuous_numbers() {
        let mut out = [0; 2];
        let mut line = Sequence::starting_at(100);
        // messages of 5, 7, 1, 4 records
        assert_eq!(line.give(&mut out, 100, 0), Some(0));
        assert_eq!(line.give(&mut out, 105, 1), Some(0));
        assert_eq!(line.give(&mut out, 112, 0), Some(5));
        assert_eq!(line.give(&mut out, 113, 1), Some(7));
        line.credit(&mut out, 117);
        assert_eq!(out, [6, 11]);
    }

    #[test]
    fn numbers_wrap_at_two_to_the_32() {
        let mut out = [u32::MAX - 1];
        let mut line = Sequence::starting_at(u32::MAX);
        line.give(&mut out, u32::MAX, 0);
        assert_eq!(line.give(&mut out, 3, 0), Some(2));
    }

    #[test]
    fn loss_upstream_is_a_gap_at_the_one_who_had_the_message_before_it() {
        let mut out = [0; 2];
        let mut line = Sequence::starting_at(0);
        line.give(&mut out, 0, 0);
        // 10 records, then 20 lost ones
        line.give(&mut out, 30, 1);
        assert_eq!(line.give(&mut out, 40, 0), Some(30));
        assert_eq!(out, [30, 10]);
    }

    #[test]
    fn loss_before_the_first_message_given_shows_at_who_gets_it() {
        let mut out = [0; 2];
        let mut line = Sequence::starting_at(7);
        line.credit(&mut out, 7);
        line.skip(2);
        line.credit(&mut out, 12);
        assert_eq!(line.give(&mut out, 12, 1), Some(3));
    }

    #[test]
    fn a_destination_that_is_gone_takes_its_records_along() {
        let mut out = [0; 2];
        let mut line = Sequence::starting_at(0);
        line.give(&mut out, 0, 0);
        line.holder = GONE;
        assert_eq!(line.give(&mut out, 5, 1), Some(0));
        assert_eq!(out, [0, 0]);
    }

    #[test]
    fn a_reordered_message_leaves_the_sum_right() {
        let mut out = [0; 2];
        let mut line = Sequence::starting_at(0);
        for (turn, sequence) in [0_u32, 20, 10, 30].into_iter().enumerate() {
            line.give(&mut out, sequence, u32::try_from(turn % 2).unwrap());
        }
        line.credit(&mut out, 40);
        assert_eq!(out[0].wrapping_add(out[1]), 40);
    }

    #[test]
    fn copied_options_records_count_everywhere_but_once_on_the_incoming_line() {
        let mut out = [0; 3];
        let mut line = Sequence::starting_at(0);
        line.give(&mut out, 0, 0);
        line.credit(&mut out, 4);
        line.skip(2);
        out.iter_mut().for_each(|number| *number += 2);
        line.give(&mut out, 6, 1);
        line.credit(&mut out, 9);
        assert_eq!(out, [6, 5, 2]);
        // what came in, and the copies: 2 destinations more than one got 2 records
        assert_eq!(out.iter().sum::<u32>(), 9 + 2 * 2);
    }

    #[test]
    fn an_unknown_destination_is_refused() {
        assert_eq!(Sequence::starting_at(0).give(&mut [], 0, 0), None);
    }
}
