//! The recorder of one receiver, at the handler's end: intervals, and the way to the threads that
//! write.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{self, Receiver as Inbox, Sender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Notify, oneshot, watch},
    time::sleep,
};

use super::{
    MAX_WAITING_BYTES, aftercare, beat,
    context::Context,
    finisher::Finisher,
    name,
    recovery::Leftovers,
    rotation::{Cause, Rotation},
    writer::{JOB_COST, Job, Writer},
};
use crate::{
    config::{Receiver, ReceiverId},
    net::affinity,
    stats::RecordStats,
};

/// A TCP exporter is held back when so much waits: room is left above for what one read brings.
const HOLD_FROM: u64 = MAX_WAITING_BYTES / 4 * 3;
/// Complete files that may wait for their names.
const MAX_UNNAMED: usize = 256;
/// Finished files that may wait to be compressed and announced.
pub const MAX_UNANNOUNCED: usize = 1024;
/// Exporters with files of one interval: more begin a new one.
const MAX_NAMED: usize = 1 << 16;
/// Buffers that are kept for use.
const MAX_SPARE: usize = 128;
/// The longest sleep until the end of an interval: a clock that is set is noticed after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Records for one receiver.
#[derive(Debug)]
pub struct Recorder {
    context: Arc<Context>,
    rotation: RefCell<Rotation>,
    /// When the interval before began.
    before: Cell<Duration>,
    /// Number of the interval, counted from the start.
    interval: Cell<u64>,
    files: Cell<u64>,
    /// How many files each exporter has had by the names of this second: a file that somebody has
    /// moved away does not make its name free.
    named: RefCell<HashMap<SocketAddr, u32>>,
    lead: Option<Arc<watch::Sender<Duration>>>,
    /// The interval has ended, and the files have to follow.
    turned: Notify,
    /// Who has asked for the end of the interval.
    asked: RefCell<Vec<oneshot::Sender<()>>>,
    jobs: RefCell<Option<Sender<Job>>>,
    spare: Inbox<Vec<u8>>,
    threads: RefCell<Vec<JoinHandle<()>>>,
}

impl Recorder {
    /// Starts the threads of a receiver that is to record. What an earlier daemon has left
    /// unfinished in its directory is finished.
    pub fn start(
        receiver: &Receiver,
        stats: Arc<RecordStats>,
        lead: Option<Arc<watch::Sender<Duration>>>,
    ) -> io::Result<Recorder> {
        let leftovers = Leftovers::of(&receiver.record.dir, receiver.id);
        let context = Arc::new(Context::new(receiver, stats));
        let (jobs, to_write) = mpsc::channel();
        let (written, to_finish) = sync_channel(MAX_UNNAMED);
        let (finished, to_look_after) = sync_channel(MAX_UNANNOUNCED);
        let (used, spare) = sync_channel(MAX_SPARE);
        let writer = Writer::new(Arc::clone(&context), written, used);
        let finisher = Finisher::new(Arc::clone(&context), finished);
        let aftercare = Arc::clone(&context);
        let threads = vec![
            spawn("dump", receiver.id, move || writer.run(to_write))?,
            spawn("sync", receiver.id, move || finisher.run(leftovers, to_finish))?,
            spawn("care", receiver.id, move || aftercare::run(&aftercare, &to_look_after))?,
        ];
        let recorder = Recorder {
            context,
            rotation: RefCell::new(Rotation::new(&receiver.record, now())),
            before: Cell::default(),
            interval: Cell::new(0),
            files: Cell::new(0),
            named: RefCell::default(),
            lead,
            turned: Notify::new(),
            asked: RefCell::default(),
            jobs: RefCell::new(Some(jobs)),
            spare,
            threads: RefCell::new(threads),
        };
        recorder.note_interval();
        Ok(recorder)
    }

    /// Goes on with other settings. Another directory ends the interval.
    pub fn reconfigure(&self, receiver: &Receiver) {
        let moved = self.context.settings().dir != receiver.record.dir
            || self.context.settings().dpi_id != receiver.record.dpi_id;
        self.context.reconfigure(&receiver.record);
        self.rotation.borrow_mut().reconfigure(&receiver.record);
        if moved {
            self.turn(Cause::Asked, now());
        }
        self.turned.notify_one();
    }

    /// Number of the interval of now.
    pub fn interval(&self) -> u64 {
        self.interval.get()
    }

    /// Counts data records; with the last that an interval may have, the next one begins.
    pub fn count(&self, records: u64) {
        if records > 0 && self.rotation.borrow_mut().count(records) {
            self.turn(Cause::Records, now());
        }
    }

    /// Ends the interval because somebody wants it so; who is to be told when its files have their
    /// names.
    pub fn rotate(&self, done: oneshot::Sender<()>) {
        self.asked.borrow_mut().push(done);
        self.turn(Cause::Asked, now());
    }

    /// Waits until the interval of this number is over; the number of the next. `leader` may end
    /// it, too.
    pub async fn over(&self, interval: u64, leader: &mut Option<watch::Receiver<Duration>>) -> u64 {
        loop {
            let remaining = self.rotation.borrow().remaining(now());
            if remaining == Some(Duration::ZERO) {
                self.turn(Cause::Time, now());
            }
            if self.interval() != interval {
                return self.interval();
            }
            tokio::select! {
                () = sleep(remaining.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)) => {}
                () = self.turned.notified() => {}
                at = beat::led(leader) => self.turn(Cause::Led, at),
            }
        }
    }

    fn turn(&self, cause: Cause, now: Duration) {
        let mut rotation = self.rotation.borrow_mut();
        let before = rotation.start();
        rotation.turn(cause, now);
        let start = rotation.start();
        drop(rotation);
        self.before.set(before);
        if start.as_secs() != before.as_secs() {
            self.named.borrow_mut().clear();
        }
        self.interval.set(self.interval.get() + 1);
        self.note_interval();
        self.turned.notify_one();
        if let Some(followers) = &self.lead {
            followers.send_replace(start);
        }
    }

    fn note_interval(&self) {
        let start = self.rotation.borrow().start().as_secs();
        self.context.stats.interval_start.store(start, Relaxed);
    }

    /// All files of the interval before have been finished.
    pub fn turned(&self) {
        self.send(Job::Turned(self.asked.take()));
    }

    /// Whether no more can be taken.
    pub fn is_full(&self) -> bool {
        self.waiting() >= MAX_WAITING_BYTES
    }

    /// Whether exporters that can be held back should be.
    pub fn is_long(&self) -> bool {
        self.waiting() >= HOLD_FROM
    }

    fn waiting(&self) -> u64 {
        self.context.stats.waiting_bytes.load(Relaxed)
    }

    /// An empty buffer.
    pub fn buffer(&self) -> Vec<u8> {
        self.spare.try_recv().unwrap_or_default()
    }

    /// Whether a session that had nothing to say in an interval is to have a file of it all the
    /// same.
    pub fn wants_empty(&self) -> bool {
        self.context.settings().empty
    }

    /// Has a file created for `exporter`; its number.
    pub fn create(&self, exporter: SocketAddr) -> u64 {
        let mut named = self.named.borrow_mut();
        let again = named.entry(exporter).and_modify(|again| *again += 1).or_default();
        let file = self.create_of(self.rotation.borrow().start(), exporter, *again);
        if named.len() >= MAX_NAMED {
            // The session that has come goes on with the next interval at its next message.
            drop(named);
            self.turn(Cause::Asked, now());
        }
        file
    }

    /// Has a file of the interval before created for `exporter`, which has none; its number.
    pub fn create_belated(&self, exporter: SocketAddr) -> u64 {
        self.create_of(self.before.get(), exporter, 0)
    }

    fn create_of(&self, start: Duration, exporter: SocketAddr, again: u32) -> u64 {
        let file = self.files.get();
        self.files.set(file + 1);
        let settings = self.context.settings();
        let stem = name::stem(start, self.context.receiver, settings.dpi_id, exporter);
        self.send(Job::Begin { file, dir: settings.dir.clone(), stem, again });
        file
    }

    /// Has whole messages appended to a file.
    pub fn append(&self, file: u64, bytes: Vec<u8>, messages: u64) {
        let cost = u64::try_from(bytes.len()).unwrap_or(0) + JOB_COST;
        self.context.stats.waiting_bytes.fetch_add(cost, Relaxed);
        self.send(Job::Append { file, bytes, messages });
    }

    /// Has a file finished.
    pub fn finish(&self, file: u64) {
        self.send(Job::Finish { file });
    }

    /// Nothing more will be recorded. The threads end when all is written; [`Recorder::has_ended`]
    /// says when. What a refusing disk does not take then is given up.
    pub fn end(&self) {
        self.context.stopping.store(true, Relaxed);
        self.jobs.borrow_mut().take();
    }

    /// Whether all is written, finished and announced.
    pub fn has_ended(&self) -> bool {
        self.threads.borrow().iter().all(JoinHandle::is_finished)
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &*self.jobs.borrow() {
            // The writer lives until we let it go.
            let _ = jobs.send(job);
        }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Starts a thread that no CPU of the handler is taken from.
fn spawn(
    duty: &str,
    receiver: ReceiverId,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let name = receiver.thread_name().replacen("ipfix", duty, 1);
    thread::Builder::new().name(name).spawn(move || {
        // A handler's pins are inherited.
        let _ = affinity::unpin_current_thread();
        work();
    })
}
