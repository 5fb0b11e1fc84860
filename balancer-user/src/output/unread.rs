//! What a collector's TCP has acknowledged, and the collector itself perhaps not read.
//!
//! TCP acknowledges what it has put into the receive buffer; a collector that is killed takes the
//! buffer along. How much is in there the window tells: it is the room that is left. But Linux
//! enlarges the buffer first, and opens the window step by step while data comes in. So a window
//! is believed that has grown no more for a while; up to half of it may then be in the buffer
//! unnoticed. While it grows, or is a good deal narrower than it was, everything acknowledged
//! counts as unread, up to what a buffer can hold.

/// Bytes of a receive buffer, as large as one becomes by itself in general (`tcp_rmem`: 6 MiB).
const LARGE_BUFFER: usize = 8 << 20;
/// A window that has not grown while so many times its width was acknowledged has its full width.
const SETTLED: usize = 4;

/// How wide a connection's window has been, and how much may be unread behind it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unread {
    widest: usize,
    window: usize,
    /// Bytes acknowledged since the window was last wider than ever.
    grown_before: usize,
    most: usize,
}

impl Unread {
    /// `bytes` more have been acknowledged, and the window is this wide now: how many of the bytes
    /// acknowledged last may not have been read at most.
    pub fn acknowledged(&mut self, bytes: usize, window: usize) -> usize {
        self.grown_before = match window > self.widest {
            true => 0,
            false => self.grown_before.saturating_add(bytes),
        };
        self.window = window;
        self.widest = self.widest.max(window);
        let full_grown = self.grown_before >= self.widest.saturating_mul(SETTLED);
        let bound = match full_grown && !self.is_behind() {
            true => self.widest + self.widest / 2 - self.window,
            false => LARGE_BUFFER.max(self.widest.saturating_mul(2)),
        };
        self.most = self.most.saturating_add(bytes).min(bound);
        self.most
    }

    /// Whether the window is a good deal narrower than it has been.
    pub fn is_behind(self) -> bool {
        self.window < self.widest / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_window_may_be_unread_once_it_has_grown() {
        let mut unread = Unread::default();
        assert_eq!(unread.acknowledged(0, 64_000), 0);
        assert_eq!(unread.acknowledged(200_000, 64_000), 200_000);
        assert_eq!(unread.acknowledged(56_000, 64_000), 32_000);
        assert_eq!(unread.acknowledged(100_000, 60_000), 36_000);
        assert_eq!(unread.acknowledged(100_000, 100_000), 136_000, "it grows again");
    }

    #[test]
    fn all_may_be_unread_since_it_became_narrow() {
        let mut unread = Unread::default();
        unread.acknowledged(0, 64_000);
        unread.acknowledged(1_000_000, 64_000);
        assert_eq!(unread.acknowledged(500_000, 0), 532_000);
        assert!(unread.is_behind());
        assert_eq!(unread.acknowledged(1_000_000, 1_000), 1_532_000);
        assert_eq!(unread.acknowledged(LARGE_BUFFER, 0), LARGE_BUFFER);
        assert_eq!(unread.acknowledged(0, 64_000), 32_000);
    }

    /// Linux before 5.4.
    #[test]
    fn a_kernel_that_does_not_tell_the_window_is_taken_at_its_acknowledgements() {
        assert_eq!(Unread::default().acknowledged(1_000, 0), 0);
    }
}
