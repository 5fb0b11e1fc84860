//! What becomes of a packet: the one decision that every program rests on.

use aya_ebpf::{bindings::xdp_md, helpers::bpf_get_smp_processor_id};
use common::{
    handover::{Entry, Handover},
    maps::{
        ALL, ANY_CPU, Destination, Domain, Flow, Listener, MARK_LEN, MAX_DESTINATIONS, Receiver,
        Session, Source, options_bit, place,
    },
    message::{HEADER_LEN, OPTIONS_TEMPLATE_SET, SET_HEADER_LEN, SetHeader, TEMPLATE_SET, VERSION},
    reason::PassUp,
    turn,
};

use super::{
    checksum::is_partial,
    count, flows,
    maps::{DESTINATIONS, DOMAINS, LISTENERS, RECEIVERS, SESSIONS},
    packet::{Datagram, Form, Headers, Layout, UDP_LEN, View},
    word::MapWord,
};

/// Sets of a message that are looked at. Exporters write one for each template that they use; each
/// more costs the verifier time whenever a daemon starts: with as many as fit into an Ethernet frame,
/// 364, that was more than a second.
const MAX_SETS: usize = 64;

/// What the hook tells of a packet, beyond its bytes.
#[derive(Clone, Copy)]
pub struct Hook {
    /// Datagrams in the packet (GSO, GRO).
    pub segments: u32,
    /// The packet at its driver, where nobody completes a checksum after us: an incomplete one has to be
    /// looked for.
    pub at_driver: Option<*mut xdp_md>,
    /// Whether the work can be moved to another CPU from here.
    pub can_move: bool,
    /// Which ways are open from here, see [`Destination::reach`].
    pub reach: u32,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on into the network stack.
    Stack,
    /// It is dropped.
    Drop,
    /// It is to be decided about on the receiver's CPU.
    Move,
    /// It goes to one destination, with another sequence number.
    One,
    /// It goes to all destinations of the receiver.
    Everyone,
}

/// What becomes of a packet, and how. Every field always has a value: the compiler copies unset ones
/// of an enum along, and the verifier refuses that.
#[derive(Clone, Copy)]
pub struct Verdict {
    /// What becomes of it.
    pub action: Action,
    /// [`Action::Move`]: where to.
    pub cpu: u32,
    /// [`Action::One`]: where to.
    pub way: Way,
    /// [`Action::One`]: its sequence number. [`Action::Everyone`]: its number in its session.
    pub number: u32,
    /// Its session's index.
    pub session: u32,
    /// Its receiver's index.
    pub receiver: u32,
}

impl Verdict {
    /// Into the network stack.
    const STACK: Verdict = Verdict {
        action: Action::Stack,
        cpu: 0,
        way: Way { destination: core::ptr::null(), source: core::ptr::null() },
        number: 0,
        session: 0,
        receiver: 0,
    };

    /// Lets the packet go up after all, untouched, because the kernel refuses what it is asked for.
    #[inline(always)]
    pub fn refuse(&self) {
        if let Some(session) = SESSIONS.get_ptr_mut(self.session) {
            handover(session).pass(1, false, || false);
        }
        count::passed_up(self.receiver, PassUp::Refused, 1);
    }
}

/// To one destination.
#[derive(Clone, Copy)]
pub struct Way {
    /// Where to.
    pub destination: *const Destination,
    /// Where from.
    pub source: *const Source,
}

/// Decides about a packet. What is to go up has been counted, and was not changed.
#[inline(always)]
pub fn steer(view: &View, headers: &Headers, hook: Hook) -> Verdict {
    let mut verdict = Verdict::STACK;
    let Some(packet) = Packet::of(view, headers, hook) else { return verdict };
    (verdict.session, verdict.receiver) = (packet.session_index, packet.receiver_index);
    if hook.can_move
        && let Some(cpu) = packet.other_cpu()
    {
        (verdict.action, verdict.cpu) = (Action::Move, cpu);
        return verdict;
    }
    let fit = packet.inspect(hook);
    let handover = handover(packet.session);
    let entry = handover.enter();
    let outcome = match (fit, entry) {
        (Err(reason), _) => Err(reason),
        (Ok(()), Entry::Busy) => Err(PassUp::Busy),
        (Ok(()), Entry::Closed) => packet.wait(&mut verdict),
        (Ok(()), Entry::Open) => packet.plan(&mut verdict),
    };
    if outcome.is_err() {
        handover.pass(hook.segments, entry != Entry::Busy, || fit.is_ok() && packet.note());
    }
    if entry != Entry::Busy {
        handover.leave();
    }
    packet.count(outcome, verdict.action, hook.segments);
    verdict
}

/// A packet of a known session.
struct Packet<'a> {
    view: &'a View,
    headers: &'a Headers,
    domain: *mut Domain,
    session: *mut Session,
    session_index: u32,
    receiver: *const Receiver,
    receiver_index: u32,
    reach: u32,
}

impl<'a> Packet<'a> {
    /// Finds the packet's session. One that is not known is counted, if it is for a receiver.
    #[inline(always)]
    fn of(view: &'a View, headers: &'a Headers, hook: Hook) -> Option<Packet<'a>> {
        let key = headers.key(view)?;
        let Some(domain_index) = flows::domain(&key) else {
            unknown(key.flow(), hook.segments);
            return None;
        };
        let domain = DOMAINS.get_ptr_mut(domain_index)?;
        // SAFETY: the value of a map, which lives as long as the program runs. The daemon changes the
        // number as a whole word, and its use is checked.
        let session_index = unsafe { (*domain).session };
        let session = SESSIONS.get_ptr_mut(session_index)?;
        // SAFETY: as above.
        let receiver_index = unsafe { (*session).receiver };
        let receiver = RECEIVERS.get_ptr(receiver_index)?;
        let reach = hook.reach;
        Some(Packet {
            view,
            headers,
            domain,
            session,
            session_index,
            receiver,
            receiver_index,
            reach,
        })
    }

    /// The CPU of the receiver's `TASKSET`, if it is not this one.
    #[inline(always)]
    fn other_cpu(&self) -> Option<u32> {
        // SAFETY: the value of a map, a word that the daemon changes as a whole.
        let cpu = unsafe { (*self.receiver).cpu };
        // SAFETY: the helper takes nothing and touches nothing.
        let here = unsafe { bpf_get_smp_processor_id() } as u32;
        (cpu != ANY_CPU && cpu != here).then_some(cpu)
    }

    /// What becomes of flow data while more is on its way up: it follows, unless the daemon can't
    /// keep up and has shut the way. A message to be marked goes up all the same: without it the way
    /// would stay shut.
    #[inline(always)]
    fn wait(&self, verdict: &mut Verdict) -> Result<(), PassUp> {
        // SAFETY: the value of a map, a word that the daemon changes as a whole.
        if unsafe { (*self.session).shut } == 0 || handover(self.session).wants_mark() {
            return Err(PassUp::Pending);
        }
        verdict.action = Action::Drop;
        Ok(())
    }

    #[inline(always)]
    fn count(&self, outcome: Result<(), PassUp>, action: Action, segments: u32) {
        match outcome {
            Err(reason) => count::passed_up(self.receiver_index, reason, segments.into()),
            Ok(()) if action == Action::Drop => count::overload(self.receiver_index),
            // The program counts it, when it knows that it can.
            Ok(()) if action == Action::Everyone => {}
            Ok(()) => count::forwarded(self.receiver_index, self.headers.message_len() as u64),
        }
    }

    /// Whether it is a plain datagram with one message of nothing but flow data.
    #[inline(always)]
    fn inspect(&self, hook: Hook) -> Result<(), PassUp> {
        match self.headers.form {
            Form::Plain => {}
            Form::Fragment => return Err(PassUp::Fragment),
            Form::Options => return Err(PassUp::IpOptions),
        }
        if hook.segments > 1 {
            return Err(PassUp::Gso);
        }
        let Datagram { version, len, .. } = self.headers.datagram;
        if version != VERSION.to_be() {
            return Err(PassUp::Version);
        }
        let length = self.headers.message_len();
        let Headers { at: Layout { ip, udp, .. }, ip_len, .. } = *self.headers;
        let udp_length = usize::from(u16::from_be(len));
        if length + UDP_LEN != udp_length
            || udp - ip + udp_length != ip_len
            || ip + ip_len > self.view.len()
            || length < HEADER_LEN
        {
            return Err(PassUp::Lengths);
        }
        if let Some(packet) = hook.at_driver
            && is_partial(packet, self.view, self.headers)
        {
            return Err(PassUp::PartialChecksum);
        }
        self.inspect_sets(length)
    }

    #[inline(always)]
    fn inspect_sets(&self, length: usize) -> Result<(), PassUp> {
        let end = self.headers.at.message() + length;
        let mut at = self.headers.at.message() + HEADER_LEN;
        if at == end {
            return Err(PassUp::NoSets);
        }
        for _ in 0..MAX_SETS {
            let bytes: [u8; SET_HEADER_LEN] = self.view.read(at).ok_or(PassUp::Sets)?;
            let set = SetHeader::read(bytes, end - at).map_err(|_| PassUp::Sets)?;
            if set.id == TEMPLATE_SET || set.id == OPTIONS_TEMPLATE_SET {
                return Err(PassUp::Template);
            }
            if self.is_options(set.id) {
                return Err(PassUp::OptionsData);
            }
            at += set.length;
            if at == end {
                return Ok(());
            }
        }
        Err(PassUp::Sets)
    }

    #[inline(always)]
    fn is_options(&self, id: u16) -> bool {
        let (word, bit) = options_bit(id);
        // SAFETY: `options_bit` gives a place within the array.
        unsafe { (&raw const (*self.domain).options).cast::<u64>().add(word).read() & bit != 0 }
    }

    /// Writes down the first bytes of the message, as `common::maps::mark` does.
    #[inline(always)]
    fn note(&self) -> bool {
        // SAFETY: the value of a map; the lock is held, and nobody reads the mark before it is published.
        let mark = unsafe { &mut (*self.session).mark };
        let at = self.headers.at.message();
        match self.view.read::<[u8; MARK_LEN]>(at) {
            // What follows a short message in its frame is padding.
            Some(bytes) if self.headers.message_len() >= MARK_LEN => *mark = bytes,
            _ => {
                let Some(header) = self.view.read::<[u8; HEADER_LEN]>(at) else { return false };
                mark[..HEADER_LEN].copy_from_slice(&header);
                mark[HEADER_LEN..].fill(0);
            }
        }
        true
    }

    /// Picks the destinations, and changes the session's state accordingly. The lock is held, and
    /// the state is the program's.
    #[inline(always)]
    fn plan(&self, verdict: &mut Verdict) -> Result<(), PassUp> {
        // SAFETY: the value of a map, a word that the daemon changes as a whole.
        match unsafe { (*self.receiver).mode } {
            ALL => {
                self.replicate()?;
                (verdict.action, verdict.number) = (Action::Everyone, self.forwarded());
            }
            _ => {
                self.balance(verdict)?;
                verdict.action = Action::One;
                self.forwarded();
            }
        }
        Ok(())
    }

    /// Counts the message for its session, and tells its number.
    #[inline(always)]
    fn forwarded(&self) -> u32 {
        // SAFETY: the value of a map; the lock is held.
        let forwarded = unsafe { &mut (*self.session).forwarded };
        *forwarded = forwarded.wrapping_add(1);
        *forwarded
    }

    #[inline(always)]
    fn balance(&self, verdict: &mut Verdict) -> Result<(), PassUp> {
        // SAFETY: values of maps; the lock is held, and with it the state is the program's alone.
        let (session, domain) = unsafe { (&mut *self.session, &mut *self.domain) };
        if session.takers & !domain.synced != 0 {
            return Err(PassUp::Unsynced);
        }
        let taker = turn::next(session.takers.into(), session.turn).ok_or(PassUp::NoDestination)?;
        if taker >= MAX_DESTINATIONS as u32 {
            return Err(PassUp::NoDestination);
        }
        let destination = self.way(taker)?;
        let sequence = self.headers.sequence();
        let number = domain.line.give(&mut domain.outgoing, sequence, taker);
        verdict.number = number.ok_or(PassUp::NoDestination)?;
        session.turn = taker + 1;
        verdict.way = Way { destination, source: source(session, taker) };
        count::sent(self.receiver_index, taker, self.headers.message_len() as u64);
        Ok(())
    }

    #[inline(always)]
    fn replicate(&self) -> Result<(), PassUp> {
        // SAFETY: values of maps, words that the daemon changes as a whole.
        let (synced, destinations) =
            unsafe { ((*self.domain).synced, (*self.receiver).destinations) };
        for destination in 0..MAX_DESTINATIONS as u32 {
            if destination >= destinations {
                break;
            }
            if synced >> destination & 1 == 0 {
                return Err(PassUp::Unsynced);
            }
            self.way(destination)?;
        }
        Ok(())
    }

    /// The way to a destination, if there is one, and it takes the packet.
    #[inline(always)]
    fn way(&self, destination: u32) -> Result<*const Destination, PassUp> {
        let way = way(self.receiver, self.receiver_index, destination).ok_or(PassUp::NoRoute)?;
        // SAFETY: the value of a map; the daemon does not change a place in use.
        let (reach, mtu) = unsafe { ((*way).reach, (*way).mtu) };
        match () {
            () if reach & self.reach == 0 => Err(PassUp::NoRoute),
            () if (mtu as usize) < self.headers.ip_len => Err(PassUp::Mtu),
            () => Ok(way),
        }
    }
}

/// The words that settle who may touch a session's state.
#[inline(always)]
fn handover<'a>(session: *mut Session) -> &'a Handover<MapWord> {
    // SAFETY: the value of a map, which lives as long as the program runs. `MapWord` is a transparent
    // `UnsafeCell<u32>`: the layout is the same, and it may change while there is a reference.
    unsafe { &*(&raw const (*session).handover).cast::<Handover<MapWord>>() }
}

/// The way to a destination of a receiver: of its two places the one in use.
#[inline(always)]
pub fn way(receiver: *const Receiver, index: u32, destination: u32) -> Option<*const Destination> {
    // SAFETY: the value of a map; a word that the daemon changes as a whole.
    let bit = unsafe { (&raw const (*receiver).places).read_volatile() } >> (destination & 31) & 1;
    DESTINATIONS.get_ptr(place(index, destination, bit))
}

/// Where a session's packets to a destination below [`MAX_DESTINATIONS`] come from.
#[inline(always)]
pub fn source(session: *const Session, destination: u32) -> *const Source {
    let mut index = u64::from(destination);
    // SAFETY: one instruction that no optimisation can take away: the verifier has to see the bound
    // where the index is used.
    unsafe { core::arch::asm!("{0} &= 15", inout(reg) index, options(pure, nomem, nostack)) };
    // SAFETY: the array has 16 places.
    unsafe { (&raw const (*session).sources).cast::<Source>().add(index as usize) }
}

/// Counts a packet for a receiver that does not know its session.
#[inline(always)]
fn unknown(flow: &Flow, segments: u32) {
    let mut listener =
        Listener { address: flow.destination, port: flow.destination_port, zeros: 0 };
    // SAFETY: the value is a number that the daemon writes once, when it adds the element.
    let mut receiver = unsafe { LISTENERS.get(listener) };
    if receiver.is_none() {
        listener.address = [0; 8];
        // SAFETY: as above.
        receiver = unsafe { LISTENERS.get(listener) };
    }
    if let Some(receiver) = receiver {
        count::passed_up(*receiver, PassUp::UnknownSession, segments.into());
    }
}
