//! From a message that came in to the queues: routing, planning, dispatching.

use std::ops::Range;

use bytes::Bytes;
use common::reason::Reason;
use tokio::time::Instant;
use tracing::warn;

use super::{super::shared::Scratch, Relay};
use crate::{
    advice::advice,
    config::Mode,
    net::mmsg,
    output::Entry,
    session::{Before, Delivery, Outlook, Payload, Refusal, Targets, bit, each_target},
};

/// Malformed messages in a row after which an exporter is not believed any more.
const MAX_MALFORMED_ROW: u32 = 8;

/// Something to put into queues once the batch's buffer is shared.
#[derive(Debug)]
pub struct Pending {
    to: Targets,
    content: Content,
    messages: u32,
    domain: u32,
    control: bool,
    before: Option<Before>,
}

#[derive(Debug)]
enum Content {
    /// A range of the batch's buffer.
    Buffer(Range<usize>),
    Composed(Bytes),
    Dropped(Reason),
    Missed,
}

impl Relay {
    /// What the router has to know of the destinations; good for one batch.
    pub fn outlook(&self, now: Instant) -> Outlook {
        let (mut turn, mut reachable, mut queued) = (0, 0, false);
        for (target, outlet) in self.outlets.iter().enumerate() {
            let (up, waiting) = (outlet.link().is_up(), outlet.has_waiting());
            queued |= waiting || !up;
            if !outlet.is_full() {
                turn |= if up { bit(target) } else { 0 };
                reachable |= if up || waiting { bit(target) } else { 0 };
            }
        }
        queued |= self.leaving.iter().any(|outlet| !outlet.queue().is_empty());
        let room = self.shared.room();
        Outlook { turn, reachable, queued, room, now: now.into_std() }
    }

    /// Takes one message, which stands at `start` of the batch's buffer. An error is the reason
    /// for which it was dropped and counted; after too many in a row,
    /// [`Reason::MalformedRow`] asks for the session's end.
    pub fn accept(
        &mut self,
        message: &mut [u8],
        start: usize,
        outlook: &Outlook,
        scratch: &mut Scratch,
    ) -> Result<(), Reason> {
        let must_wait = !self.backlog.is_empty() || self.is_settling();
        let routed = match must_wait {
            true => Err(Refusal::NoDestination),
            false => self.route(message, outlook, &mut scratch.deliveries),
        };
        match routed {
            Ok(()) => {
                self.malformed_row = 0;
                let range = start..start + message.len();
                for delivery in scratch.deliveries.drain(..) {
                    self.plan(delivery, message, &range, &mut scratch.pending);
                }
                Ok(())
            }
            Err(Refusal::NoDestination) => {
                self.wait(message);
                Ok(())
            }
            Err(Refusal::Drop(reason)) => Err(self.refuse(reason)),
        }
    }

    /// Routes one message, into the dump file of the interval it belongs to.
    pub(super) fn route(
        &mut self,
        message: &mut [u8],
        outlook: &Outlook,
        deliveries: &mut Vec<Delivery>,
    ) -> Result<(), Refusal> {
        self.turn_file(message);
        self.router.route(message, outlook, deliveries)?;
        self.note(message);
        Ok(())
    }

    pub(super) fn refuse(&mut self, reason: Reason) -> Reason {
        self.shared.report(reason, 1, self.peer, "The message was dropped.");
        // A message beyond a limit is well formed.
        self.malformed_row += u32::from(reason == Reason::Malformed);
        if self.malformed_row >= MAX_MALFORMED_ROW { Reason::MalformedRow } else { reason }
    }

    /// Has the file take its part of a delivery at once, and plans the rest for the batch's end.
    pub(super) fn plan(
        &mut self,
        mut delivery: Delivery,
        message: &[u8],
        range: &Range<usize>,
        pending: &mut Vec<Pending>,
    ) {
        self.record(&mut delivery, message);
        if delivery.to == 0 {
            return;
        }
        let content = match delivery.payload {
            Payload::Whole => Content::Buffer(range.clone()),
            Payload::Composed(message) => Content::Composed(message),
            Payload::Dropped(reason) => Content::Dropped(reason),
            Payload::Missed => Content::Missed,
        };
        if self.runs
            && !delivery.control
            && let Content::Buffer(range) = &content
            && let Some(last) = pending.last_mut()
            && last.extend(delivery.to, range)
        {
            return;
        }
        pending.push(Pending {
            to: delivery.to,
            content,
            messages: 1,
            domain: delivery.domain,
            control: delivery.control,
            before: delivery.before,
        });
    }

    /// Puts what a batch has planned into the queues. `buffer` is the batch's; queues that can't
    /// be sent at once keep their own copy of a few messages, not all of it.
    pub fn dispatch(&mut self, buffer: &Bytes, pending: impl Iterator<Item = Pending>) {
        for planned in pending {
            if let Some(before) = &planned.before {
                // Nothing more is sent there.
                self.leaving.iter_mut().for_each(|o| o.queue_mut().keep_before(before));
            }
            let (bytes, borrowed) = match planned.content {
                Content::Buffer(range) => (buffer.slice(range), true),
                Content::Composed(bytes) => (bytes, false),
                Content::Dropped(reason) => {
                    self.drop_for(planned.to, reason, planned.messages, None);
                    continue;
                }
                Content::Missed => {
                    self.keep_before(planned.to, planned.before.as_ref());
                    continue;
                }
            };
            for target in each_target(planned.to) {
                let entry = Entry {
                    bytes: bytes.clone(),
                    messages: planned.messages,
                    domain: planned.domain,
                    control: planned.control,
                    turn: borrowed && self.mode == Mode::RoundRobin,
                    preamble: false,
                    spooled: None,
                    before: planned.before.clone(),
                    borrowed,
                };
                self.enqueue(target, entry);
            }
        }
    }

    fn enqueue(&mut self, target: usize, entry: Entry) {
        let mode = self.mode;
        let Some(outlet) = self.outlets.get_mut(target) else { return };
        if outlet.is_spooling() {
            if !self.enqueue_spooled(target, &entry) {
                let lost = entry.control.then_some(entry.domain);
                self.drop_for(bit(target), Reason::SpoolFull, entry.messages, lost);
            }
            return;
        }
        // In RoundRobin the router has been told who is full when the batch began.
        if mode != Mode::RoundRobin && outlet.is_full() && self.shared.spooler().is_none() {
            let lost = entry.control.then_some(entry.domain);
            self.keep_before(bit(target), entry.before.as_ref());
            self.drop_for(bit(target), Reason::QueueFull, entry.messages, lost);
        } else {
            outlet.push(entry);
        }
    }

    /// What waits for `targets` was encoded by templates that have been redefined since, and they are
    /// not sent the new ones now.
    pub(super) fn keep_before(&mut self, targets: Targets, before: Option<&Before>) {
        let Some(before) = before else { return };
        for target in each_target(targets) {
            if let Some(outlet) = self.outlets.get_mut(target) {
                outlet.queue_mut().keep_before(before);
            }
        }
    }

    fn drop_for(&mut self, targets: Targets, reason: Reason, count: u32, lost: Option<u32>) {
        for target in each_target(targets) {
            if let Some(domain) = lost {
                self.router.lost(domain, target);
            }
            let Some(outlet) = self.outlets.get(target) else { continue };
            outlet.stats().drops.add(reason, u64::from(count));
            if let Some(left_out) = outlet.stats().log_down.pass() {
                warn!(
                    receiver = %self.shared.receiver.borrow().id,
                    destination = %outlet.destination, reason = reason.as_str(), left_out,
                    "messages are dropped for a destination: {} {}", reason.meaning(), advice(reason)
                );
            }
        }
    }

    /// Sends what the queues hold, as far as the sockets take it, and hands over what is recorded.
    /// Of a receive buffer of `Some` bytes parts may be kept, of another one nothing.
    pub fn flush(&mut self, sender: &mut mmsg::Sender, buffer: Option<usize>) {
        if let Some(file) = &mut self.file {
            file.flush();
        }
        if !self.unsettled.is_empty() {
            self.fail_over_unsettled();
        }
        for outlet in &mut self.outlets {
            outlet.flush(sender);
            outlet.queue_mut().settle(buffer);
        }
        if let Some(bytes) = self.router.take_resized() {
            self.shared.resize_state(std::mem::replace(&mut self.state_bytes, bytes), bytes);
        }
        self.tend_spools();
        self.tend_backlog();
        let not_kept = self.router.take_not_kept();
        if not_kept > 0 {
            self.shared.report(Reason::OptionsLimit, not_kept, self.peer, "");
        }
    }
}

impl Pending {
    /// Takes a message into this run, if it follows it in the buffer and goes the same way.
    fn extend(&mut self, to: Targets, range: &Range<usize>) -> bool {
        let follows = match &mut self.content {
            Content::Buffer(run) if !self.control && self.to == to && run.end == range.start => {
                run.end = range.end;
                true
            }
            _ => false,
        };
        self.messages += u32::from(follows);
        follows
    }
}
