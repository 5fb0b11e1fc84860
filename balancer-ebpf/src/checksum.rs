//! Internet checksums that follow a change without a look at the rest of the packet (RFC 1624).

/// A change of some words, in ones' complement: good for a great many of them.
///
/// Words of 16 and of 32 bits can be mixed, as the sum of 16-bit words is that of 32-bit words, when both
/// are folded; and byte order does not matter, as long as it is the same in everything (RFC 1071
/// section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change(u64);

impl Change {
    /// A 16-bit word was `old` and becomes `new`.
    #[inline(always)]
    #[must_use]
    pub fn short(self, old: u16, new: u16) -> Change {
        Change(self.0 + u64::from(!old) + u64::from(new))
    }

    /// A 32-bit word was `old` and becomes `new`.
    #[inline(always)]
    #[must_use]
    pub fn long(self, old: u32, new: u32) -> Change {
        Change(self.0 + u64::from(!old) + u64::from(new))
    }

    /// Several 32-bit words in a row.
    #[inline(always)]
    #[must_use]
    pub fn longs<const N: usize>(mut self, old: [u32; N], new: [u32; N]) -> Change {
        for (old, new) in old.into_iter().zip(new) {
            self = self.long(old, new);
        }
        self
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub fn and(self, other: Change) -> Change {
        Change(self.0 + other.0)
    }

    /// The change as the kernel's checksum helpers take it: a sum of 32 bits.
    #[inline(always)]
    pub fn sum(self) -> u32 {
        fold_to_32(self.0)
    }

    /// The checksum after the change.
    #[inline(always)]
    pub fn apply(self, checksum: u16) -> u16 {
        !fold(self.0 + u64::from(!checksum))
    }

    /// Likewise for UDP, where 0 stands for "no checksum": it stays 0, and nothing else becomes 0
    /// (RFC 768).
    #[inline(always)]
    pub fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            return 0;
        }
        match self.apply(checksum) {
            0 => u16::MAX,
            checksum => checksum,
        }
    }
}

/// Whether `checksum` is the sum of the pseudo header, addresses and the `rest`: all that a sender
/// writes who leaves the others to its network card. 0 stands for none.
#[inline(always)]
pub fn is_pseudo<const N: usize>(checksum: u16, addresses: [u32; N], rest: [u16; 2]) -> bool {
    let sum: u64 = addresses.into_iter().map(u64::from).sum();
    let rest: u64 = rest.into_iter().map(u64::from).sum();
    checksum != 0 && checksum == fold(sum + rest)
}

/// Whether the `sum` of everything that a checksum is for, itself included, is that of a right one.
#[inline(always)]
pub fn adds_up(sum: u64) -> bool {
    fold(sum) == u16::MAX
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "two foldings leave 32 bits")]
fn fold_to_32(mut sum: u64) -> u32 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum as u32
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "three foldings leave 16 bits")]
fn fold(sum: u64) -> u16 {
    // Up to 33 bits, then up to 18, 17 and 16.
    let mut sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the definition: the complement of the sum of all words.
    fn checksum(words: &[u16]) -> u16 {
        let mut sum: u32 = words.iter().map(|word| u32::from(*word)).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn a_change_gives_what_the_definition_gives() {
        let mut words = [0x4500, 0x0073, 0x0000, 0x4000, 0x4011, 0xc0a8, 0x0001, 0xc0a8, 0x00c7];
        let mut current = checksum(&words);
        for (at, new) in [(7, 0x0a00), (8, 0xffff), (0, 0), (3, 0xfffe), (8, 0), (1, 0x8000)] {
            current = Change::default().short(words[at], new).apply(current);
            words[at] = new;
            assert_eq!(current, checksum(&words), "{words:x?}");
        }
    }

    #[test]
    fn long_words_and_short_ones_give_the_same() {
        let (old, new) = ([0xffff, 0xffff, 0x1234, 0x5678], [0x0001, 0xfffe, 0xffff, 0x0000]);
        let pair = |words: &[u16], at: usize| u32::from(words[at]) << 16 | u32::from(words[at + 1]);
        let short = old.iter().zip(&new).fold(Change::default(), |c, (o, n)| c.short(*o, *n));
        let long =
            Change::default().longs([pair(&old, 0), pair(&old, 2)], [pair(&new, 0), pair(&new, 2)]);
        for checksum in [1, 0x8000, 0xfffe, 0xffff] {
            assert_eq!(short.apply(checksum), long.apply(checksum));
            let sum = Change(long.sum().into());
            assert_eq!(sum.apply(checksum), long.apply(checksum));
        }
    }

    #[test]
    fn no_udp_checksum_stays_none_and_none_is_not_made() {
        let change = Change::default().short(1, 2);
        assert_eq!(change.apply_udp(0), 0);
        // A sum of ones has the checksum 0, which UDP writes as ones.
        let words = [0xfff0, 0x000e];
        let change = Change::default().short(words[1], 0x000f);
        assert_eq!(checksum(&[0xfff0, 0x000f]), 0);
        assert_eq!(change.apply_udp(checksum(&words)), 0xffff);
    }

    #[test]
    fn what_a_checksum_is_for_adds_up_with_it() {
        let words = [0x4500, 0xfffe, 0x1234, 0xc0a8];
        let sum = words.iter().map(|word| u64::from(*word)).sum::<u64>();
        assert!(adds_up(sum + u64::from(checksum(&words))));
        assert!(!adds_up(sum + u64::from(checksum(&words)) + 1));
    }

    #[test]
    fn a_partial_checksum_is_the_sum_of_the_pseudo_header() {
        let addresses = [0xc0a8_0001, 0xc0a8_00c7];
        let partial = !checksum(&[0xc0a8, 0x0001, 0xc0a8, 0x00c7, 17, 100]);
        assert!(is_pseudo(partial, addresses, [17, 100]));
        assert!(!is_pseudo(!partial, addresses, [17, 100]));
        assert!(!is_pseudo(0, [0; 4], [0; 2]));
    }
}
