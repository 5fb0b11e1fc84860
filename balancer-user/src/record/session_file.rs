//! The dump file of one exporter session, at the handler's end.

use std::{net::SocketAddr, rc::Rc};

use super::recorder::Recorder;

/// Bytes that are gathered before they go to the writer, within a batch: few enough to be in the
/// CPU's cache still when they are written.
const GATHER: usize = 64 << 10;

/// Where a session is recorded: a new file for every interval in which it has something to say.
#[derive(Debug)]
pub struct SessionFile {
    recorder: Rc<Recorder>,
    exporter: SocketAddr,
    /// The last interval with a file, or the one in which the session began.
    interval: u64,
    current: Option<Current>,
}

/// The file of an interval.
#[derive(Debug, Default)]
struct Current {
    /// The file's number, once it is to be created.
    file: Option<u64>,
    gathered: Vec<u8>,
    /// Received messages in it.
    messages: u64,
}

impl SessionFile {
    /// The files of the session with `exporter`.
    pub fn new(recorder: Rc<Recorder>, exporter: SocketAddr) -> SessionFile {
        let interval = recorder.interval();
        SessionFile { recorder, exporter, interval, current: None }
    }

    /// Who records.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Whether there is a file of the interval of now.
    pub fn is_current(&self) -> bool {
        self.current.is_some() && self.interval == self.recorder.interval()
    }

    /// Whether the interval before this one has left no file.
    pub fn was_silent(&self) -> bool {
        self.current.is_none() && self.interval + 1 < self.recorder.interval()
    }

    /// Goes on with a new file. It is created with its first message.
    pub fn begin(&mut self) {
        self.close();
        self.interval = self.recorder.interval();
        self.current = Some(Current::default());
    }

    /// Writes a file of `messages` that the balancer has composed, for the interval that is over; none
    /// while too much waits for the disk.
    pub fn write_silent(&mut self, messages: Vec<u8>) {
        self.interval = self.recorder.interval().saturating_sub(1);
        if self.recorder.is_full() {
            return;
        }
        let file = self.recorder.create_belated(self.exporter);
        self.recorder.append(file, messages, 0);
        self.recorder.finish(file);
    }

    /// Appends a message, or one that the balancer has composed. False when it can't be: too much
    /// waits for the disk. A file that nothing is in then is given up, since it would lack its
    /// beginning.
    pub fn push(&mut self, message: &[u8], received: bool) -> bool {
        let Some(current) = &mut self.current else { return false };
        if self.recorder.is_full() {
            if current.file.is_none() && current.gathered.is_empty() {
                self.current = None;
            }
            return false;
        }
        if current.gathered.capacity() == 0 {
            current.gathered = self.recorder.buffer();
        }
        current.gathered.extend_from_slice(message);
        current.messages += u64::from(received);
        if current.gathered.len() >= GATHER {
            self.flush();
        }
        true
    }

    /// Hands over what has gathered: to be called at the end of a batch.
    pub fn flush(&mut self) {
        let gathered = |current: &&mut Current| !current.gathered.is_empty();
        let Some(current) = self.current.as_mut().filter(gathered) else { return };
        let file = *current.file.get_or_insert_with(|| self.recorder.create(self.exporter));
        let bytes = std::mem::take(&mut current.gathered);
        self.recorder.append(file, bytes, std::mem::take(&mut current.messages));
    }

    /// Ends the file.
    pub fn close(&mut self) {
        self.flush();
        if let Some(file) = self.current.take().and_then(|current| current.file) {
            self.recorder.finish(file);
        }
    }

    /// Ends the file if its interval is over.
    pub fn close_outdated(&mut self) {
        if !self.is_current() {
            self.close();
        }
    }
}

impl Drop for SessionFile {
    fn drop(&mut self) {
        self.close();
    }
}
