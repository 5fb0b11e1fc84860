//! Who may touch a session's state: the kernel program or the daemon.
//!
//! A session that the kernel path forwards has one state (turn, sequence numbers) in a map that
//! both can write. Messages that the program can't forward go up to the daemon through a socket,
//! and while one of them is on its way no later message may be forwarded: it would overtake, and
//! both would work on the state. The words of [`Handover`] settle that.
//!
//! - The program counts in `passed` each datagram that it sends up; the daemon publishes in
//!   `handled` up to which number it has dealt with them and handed everything to the network. The
//!   program forwards only while the two are equal.
//! - A datagram may be lost between the two, or come up without having been counted (before the
//!   session was installed, over another interface). Then counting is no use, and the daemon asks
//!   for a *mark*: it raises `wanted`. The program notes the number and the first bytes of the next
//!   message of flow data that it sends up, and sets `marked` to `wanted`. When the daemon comes to
//!   handle that very message, it knows its number again, as datagrams of a session stay in order
//!   between the two. While `wanted` and `marked` differ nothing is forwarded.
//! - `lock` is held by the program while it decides about a datagram and changes the state. It never
//!   waits for it: a datagram that finds it taken, by a program on another CPU, goes up.
//!
//! Why this is sound. *The program* changes the state only while it holds the lock and, after
//! taking it, has seen `handled == passed` and `wanted == marked`. *The daemon* changes the state
//! only after it has seen one of the two unequal, or has made it so, and after that has seen the
//! lock free ([`Daemon::take`]). A program that takes the lock later sees the inequality: both
//! sides write one word and then read another's, with full barriers between. The inequality lasts
//! until the daemon ends it: the program only raises `passed`, which the daemon's `handled` trails,
//! and it sets `marked` to `wanted` only when it has raised `passed` beyond `handled`. The daemon
//! ends it with the store of `handled`, which is its last step, after its changes of the state and
//! after everything that it has sent.
//!
//! *Between the program's reads* of `handled` and `passed` a program on another CPU may raise `passed`,
//! for which it needs no lock, and the daemon may follow. `handled` never gets ahead of `passed`, and
//! `passed` never goes back: so if `handled` was read first, and `passed` is equal to it later, then it
//! was equal at the first reading too. The other way round an old `passed` may equal a new `handled`.
//!
//! *Order*: the store makes `handled` the number of a datagram that was handled, and all before it were
//! handled or lost, because they come in order; so when the program finds `handled == passed` nothing
//! is on its way. That rests on three things. What was not counted must not be taken for counted
//! ([`Daemon::handle`]): it would stand for one that is still on its way. When the program begins to
//! count an observation domain, a mark has to be asked for after that: every datagram of the domain
//! that was not counted then comes before the mark. And a mark tells of those before it only if what was
//! counted comes up in the order of its numbers, as it does from one CPU. If two CPUs send a session's
//! datagrams up at once, and these change places on their way, then one that was counted before the
//! marked one may be overtaken once. The state is only one's at a time even then.
//!
//! The `interleavings` test tries every order of the steps, loss and all.

#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::Ordering::SeqCst;

/// A 32-bit word in memory that the program and the daemon share. Every operation is a full
/// barrier, or ordered as if it were.
pub trait Word {
    /// Reads.
    fn load(&self) -> u32;
    /// Writes.
    fn store(&self, value: u32);
    /// Writes, and tells what was there.
    fn swap(&self, value: u32) -> u32;
    /// Adds, and tells the sum.
    fn add(&self, count: u32) -> u32;
}

#[cfg(not(target_arch = "bpf"))]
impl Word for core::sync::atomic::AtomicU32 {
    fn load(&self) -> u32 {
        self.load(SeqCst)
    }

    fn store(&self, value: u32) {
        self.store(value, SeqCst);
    }

    fn swap(&self, value: u32) -> u32 {
        self.swap(value, SeqCst)
    }

    fn add(&self, count: u32) -> u32 {
        self.fetch_add(count, SeqCst).wrapping_add(count)
    }
}

/// The words that settle who may touch a session's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handover<W> {
    /// 1 while a program decides about a datagram.
    pub lock: W,
    /// Datagrams sent up to the daemon. Written by the program.
    pub passed: W,
    /// The request for a mark that was last met. Written by the program.
    pub marked: W,
    /// The marked message's number in `passed`. Written by the program.
    pub mark_number: W,
    /// Number up to which the daemon has handled what was sent up. Written by the daemon.
    pub handled: W,
    /// The daemon's request for a mark. Written by the daemon.
    pub wanted: W,
}

/// What a program may do with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It holds the lock and may change the state.
    Open,
    /// It holds the lock and must send the datagram up.
    Closed,
    /// It does not hold the lock and must send the datagram up.
    Busy,
}

impl<W: Word> Handover<W> {
    /// Program: takes the lock, if it is free, and looks who may touch the state.
    #[inline(always)]
    pub fn enter(&self) -> Entry {
        if self.lock.swap(1) != 0 {
            return Entry::Busy;
        }
        if self.is_open() { Entry::Open } else { Entry::Closed }
    }

    /// Program: gives the lock back.
    #[inline(always)]
    pub fn leave(&self) {
        self.lock.store(0);
    }

    /// Program: counts the datagrams of a packet that it is about to send up. With the lock held, and
    /// a mark wanted, `note` is to write down the first bytes of a packet of one datagram.
    #[inline(always)]
    pub fn pass(&self, datagrams: u32, locked: bool, note: impl FnOnce() -> bool) {
        let number = self.passed.add(datagrams);
        if !locked {
            return;
        }
        let wanted = self.wanted.load();
        if self.marked.load() != wanted && note() {
            self.mark_number.store(number);
            self.marked.store(wanted);
        }
    }

    /// Program: whether the daemon has asked for a mark that was not made yet.
    #[inline(always)]
    pub fn wants_mark(&self) -> bool {
        self.wanted.load() != self.marked.load()
    }

    #[inline(always)]
    fn is_open(&self) -> bool {
        // `handled` first: see above.
        self.handled.load() == self.passed.load() && self.wanted.load() == self.marked.load()
    }
}

/// The daemon's side of a session's hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Daemon {
    /// Number of the last datagram handled.
    handled: u32,
    /// The request for a mark that was last made.
    wanted: u32,
    /// Whether `handled` is known: no mark is wanted, or it was found.
    in_step: bool,
    /// Whether the state is the daemon's.
    owns: bool,
}

impl Daemon {
    /// Begins with a session that the program has not seen: the state is the daemon's until a
    /// marked message has come through.
    pub fn install<W: Word>(words: &Handover<W>) -> Daemon {
        let mut daemon =
            Daemon { handled: 0, wanted: words.marked.load(), in_step: false, owns: true };
        daemon.ask(words);
        daemon
    }

    /// Goes on with a session of a daemon that is no more: the program has it, or is waiting.
    pub fn resume<W: Word>(words: &Handover<W>) -> Daemon {
        let handled = words.handled.load();
        Daemon { handled, wanted: words.wanted.load(), in_step: true, owns: false }
    }

    /// Makes the state the daemon's. True where it was the program's until now: then the daemon has
    /// to read it.
    pub fn take<W: Word>(&mut self, words: &Handover<W>) -> bool {
        if self.owns {
            return false;
        }
        if words.is_open() {
            // A datagram that was not counted, or a change of ours: the count is no use.
            self.ask(words);
        }
        while words.lock.load() != 0 {
            core::hint::spin_loop();
        }
        self.owns = true;
        true
    }

    /// Takes note of a datagram that is being handled: `counted` tells whether the program must
    /// have counted it, `is_marked` whether it is the one whose first bytes were noted.
    ///
    /// Not counted are the datagrams of a domain that the program did not know when this was called
    /// last, and those that came over an interface where the program is not. Only for the state's
    /// owner; a new domain is to be made known to the program after [`Daemon::take`] and before this.
    pub fn handle<W: Word>(
        &mut self,
        words: &Handover<W>,
        counted: bool,
        is_marked: impl FnOnce() -> bool,
    ) {
        if !counted {
            // Even where a mark is awaited: behind the message that got it more may have come up
            // that was not counted, and will look as if it had been.
            self.ask(words);
        } else if self.in_step {
            self.handled = self.handled.wrapping_add(1);
        } else if words.marked.load() == self.wanted && is_marked() {
            self.handled = words.mark_number.load();
            self.in_step = true;
        }
    }

    /// Asks for a mark: the count is not known any more. Only for the state's owner, or as the first
    /// step of becoming it.
    pub fn ask<W: Word>(&mut self, words: &Handover<W>) {
        // Behind what is counted, so that nothing but finding the mark can make them equal.
        words.handled.store(words.passed.load().wrapping_sub(1));
        self.wanted = self.wanted.wrapping_add(1);
        words.wanted.store(self.wanted);
        self.in_step = false;
    }

    /// Publishes what was handled. The state must have been written, and everything sent. From here
    /// on the state may be the program's; false where it is not, because more has come up.
    pub fn give<W: Word>(&mut self, words: &Handover<W>) -> bool {
        if !self.owns || !self.in_step {
            return !self.owns;
        }
        let behind = words.passed.load().wrapping_sub(self.handled);
        if behind > u32::MAX / 2 {
            // More was handled than was counted: something came up another way.
            self.ask(words);
            return false;
        }
        // Looked at before the store: after it the program may have had the state and sent more up.
        self.owns = behind != 0;
        words.handled.store(self.handled);
        !self.owns
    }

    /// Whether the state is the daemon's.
    pub fn owns(&self) -> bool {
        self.owns
    }
}
