//! Turns under RoundRobin.

/// Whose turn it is: the first of `takers` (one bit each) from `turn` on and around. `None` where
/// nobody takes one.
#[inline(always)]
pub fn next(takers: u64, turn: u32) -> Option<u32> {
    // As long as everybody takes turns it is the one whose turn it is, and no bits have to be counted.
    if takers.checked_shr(turn).unwrap_or(0) & 1 == 1 {
        return Some(turn);
    }
    let from_turn = takers & u64::MAX.checked_shl(turn).unwrap_or(0);
    let candidates = if from_turn != 0 { from_turn } else { takers };
    if candidates == 0 { None } else { Some(candidates.trailing_zeros()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_around_and_pass_over_who_takes_none() {
        let mut turn = 0;
        let mut got = std::vec::Vec::new();
        for _ in 0..6 {
            let taker = next(0b1011, turn).unwrap();
            got.push(taker);
            turn = taker + 1;
        }
        assert_eq!(got, [0, 1, 3, 0, 1, 3]);
    }

    #[test]
    fn nobody_takes_a_turn_where_there_is_nobody() {
        assert_eq!(next(0, 5), None);
        assert_eq!(next(1 << 63, 64), Some(63));
    }
}
