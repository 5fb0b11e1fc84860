//! The session's dump file: the last of the router's targets.

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use common::reason::Reason;

use super::Relay;
use crate::{
    record::SessionFile,
    session::{Delivery, Payload, SessionDetails, bit},
};

impl Relay {
    /// Our end of the session, as far as it is known.
    pub fn set_local(&mut self, local: SocketAddr) {
        self.local = local;
    }

    /// Begins or ends recording with the handler's recorder.
    pub fn follow_recorder(&mut self) {
        let recorder = self.shared.recorder.borrow().clone();
        self.file = match (self.file.take(), recorder) {
            (Some(file), Some(_)) => Some(file),
            (None, Some(recorder)) => Some(SessionFile::new(Rc::clone(&recorder), self.peer)),
            (_, None) => None,
        };
    }

    /// To be called before a message is routed: it may be the first of a new file.
    pub(super) fn turn_file(&mut self, message: &[u8]) {
        let Some(file) = &mut self.file else { return };
        file.recorder().count(self.router.count(message));
        if !file.is_current() {
            file.begin();
            self.router.begin_file(self.details());
        }
    }

    fn details(&self) -> SessionDetails {
        let receiver = self.shared.receiver.borrow();
        SessionDetails {
            exporter: self.peer,
            collector: self.local,
            protocol: receiver.protocol,
            dpi_id: u32::try_from(receiver.record.dpi_id).unwrap_or_default(),
        }
    }

    /// Takes what is for the file out of a delivery.
    pub(super) fn record(&mut self, delivery: &mut Delivery, message: &[u8]) {
        let Some(target) = self.router.shape().file() else { return };
        if delivery.to & bit(target) == 0 {
            return;
        }
        delivery.to &= !bit(target);
        let (bytes, received) = match &delivery.payload {
            Payload::Whole => (message, true),
            Payload::Composed(composed) => (&**composed, false),
            Payload::Dropped(_) | Payload::Missed => return,
        };
        if self.file.as_mut().is_some_and(|file| file.push(bytes, received)) {
            return;
        }
        if delivery.control {
            self.router.lost(delivery.domain, target);
        }
        if received {
            self.shared.report(Reason::Unrecorded, 1, self.peer, "The message was dropped.");
        }
    }

    /// The session has ended: its file does, too, as soon as all messages are in it.
    pub(super) fn end_file(&mut self) {
        if self.backlog.is_empty() {
            self.file = None;
        }
    }

    /// Whether messages can still come for the session's file.
    pub fn is_recording(&self) -> bool {
        self.file.is_some()
    }

    /// Whether more would have to be dropped before long.
    pub(super) fn file_is_behind(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.recorder().is_long())
    }

    /// Ends the file if its interval is over.
    pub fn close_outdated_file(&mut self) {
        let details = self.details();
        let Some(file) = &mut self.file else { return };
        if file.was_silent() && file.recorder().wants_empty() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let export_time = u32::try_from(now).unwrap_or(u32::MAX);
            file.write_silent(self.router.live(Some(&details), &[], export_time));
        }
        file.close_outdated();
    }
}
