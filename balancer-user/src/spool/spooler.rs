//! The spools of one receiver at the handler's end, and the way to the thread that has them.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc::UnboundedReceiver, mpsc::unbounded_channel, oneshot};

use super::{
    context::Context,
    handle::Handle,
    segment::Label,
    store::{Store, max_bytes},
    worker::{Job, Reply, Worker},
};
use crate::{
    config::{Receiver, SpoolFull},
    net::affinity,
    stats::ReceiverStats,
};

/// Spools for one receiver.
#[derive(Debug)]
pub struct Spooler {
    pub(super) context: Arc<Context>,
    jobs: RefCell<Option<Sender<Job>>>,
    thread: JoinHandle<()>,
    last_id: Cell<u64>,
    pub(super) max_bytes: Cell<u64>,
    pub(super) holds: Cell<bool>,
}

impl Spooler {
    /// Starts the thread of a receiver with destinations; what it has to say comes by the channel.
    pub fn start(
        receiver: &Receiver,
        stats: &Arc<ReceiverStats>,
    ) -> io::Result<(Spooler, UnboundedReceiver<Reply>)> {
        let context = Arc::new(Context::new(receiver.id, Arc::clone(stats)));
        let (jobs, inbox) = mpsc::channel();
        let (replies, answers) = unbounded_channel();
        let store = Store::new(receiver.id, receiver.spool.clone(), Arc::clone(stats));
        let worker = Worker::new(Arc::clone(&context), store, replies);
        let name = receiver.id.thread_name().replacen("ipfix", "spool", 1);
        let thread = thread::Builder::new().name(name).spawn(move || {
            // A handler's pins are inherited.
            let _ = affinity::unpin_current_thread();
            worker.run(&inbox);
        })?;
        let spooler = Spooler {
            context,
            jobs: RefCell::new(Some(jobs)),
            thread,
            last_id: Cell::new(0),
            max_bytes: Cell::new(max_bytes(&receiver.spool)),
            holds: Cell::new(receiver.spool.full == SpoolFull::Hold),
        };
        Ok((spooler, answers))
    }

    /// Goes on with other settings.
    pub fn reconfigure(&self, receiver: &Receiver) {
        self.max_bytes.set(max_bytes(&receiver.spool));
        self.holds.set(receiver.spool.full == SpoolFull::Hold);
        self.send(Job::Reconfigure(receiver.spool.clone()));
    }

    /// Whether there is a place on disk.
    pub fn is_available(&self) -> bool {
        self.context.stats.spooling.available.load(Relaxed)
    }

    /// Empties the spools of a destination, or all; `done` hears how many messages were in them.
    pub fn purge(&self, destination: Option<String>, done: oneshot::Sender<u64>) {
        self.send(Job::Purge { destination, done });
    }

    /// A spool of its own for the messages of `exporter` to `destination`, `None` for those that have
    /// had no turn.
    pub fn open(self: &Rc<Self>, destination: Option<String>, exporter: SocketAddr) -> Handle {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let id = u64::try_from(micros).unwrap_or(0).max(self.last_id.get() + 1);
        self.last_id.set(id);
        let label = Label { receiver: self.context.receiver.to_string(), destination, exporter };
        Handle::new(self, id, label)
    }

    /// The spool of this number, that an earlier session has left.
    pub fn adopt(self: &Rc<Self>, id: u64, label: Label) -> Handle {
        Handle::of_earlier(self, id, label)
    }

    /// Nothing more comes. The thread ends when the disk has everything; see
    /// [`Spooler::has_ended`].
    pub fn end(&self) {
        self.jobs.borrow_mut().take();
    }

    /// Whether the disk has everything.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    pub(super) fn send(&self, job: Job) {
        if let Some(jobs) = &*self.jobs.borrow() {
            // The thread lives until we let it go.
            let _ = jobs.send(job);
        }
    }
}
