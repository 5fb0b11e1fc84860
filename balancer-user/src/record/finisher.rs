//! The thread that gives complete dump files their final names, once the disk has them.

use std::sync::{
    Arc,
    mpsc::{Receiver, SyncSender, TrySendError},
};

use tokio::sync::oneshot;
use tracing::warn;

use super::{aftercare, context::Context, file::PartFile, recovery::Leftovers};

/// Something to do, in order.
#[derive(Debug)]
pub enum Job {
    /// A file is complete.
    Finish(PartFile),
    /// All files of an interval are finished; whom to tell when they have their names.
    Turned(Vec<oneshot::Sender<()>>),
}

/// Finishes files.
pub struct Finisher {
    context: Arc<Context>,
    aftercare: SyncSender<aftercare::Job>,
}

impl Finisher {
    /// A finisher that hands files with a name to `aftercare`.
    pub fn new(context: Arc<Context>, aftercare: SyncSender<aftercare::Job>) -> Finisher {
        Finisher { context, aftercare }
    }

    /// Finishes what was left behind, then works until there is nobody left to give jobs.
    pub fn run(self, leftovers: Leftovers, jobs: Receiver<Job>) {
        leftovers.recover().for_each(|part| self.finish(part));
        for job in jobs {
            match job {
                Job::Finish(part) => self.finish(part),
                Job::Turned(done) => {
                    self.pass_on(aftercare::Job::Turned);
                    for done in done {
                        // Who asked may have stopped waiting.
                        let _ = done.send(());
                    }
                }
            }
        }
    }

    fn finish(&self, mut part: PartFile) {
        let path = part.path();
        // After an error of fsync nobody knows what the disk has: a file without that doubt gets a
        // name, this one waits for the next start, which looks at what is there.
        if let Err(error) = part.sync() {
            self.context.complain("sync", &path, &error);
            let receiver = self.context.receiver;
            warn!(%receiver, file = %path.display(), "the file stays unfinished until the next start");
            return;
        }
        let Some(path) = self.context.persist(&path, || part.publish()) else { return };
        self.context.finished(&path);
        self.pass_on(aftercare::Job::Finished(path));
    }

    /// Recording does not wait for what comes after it.
    fn pass_on(&self, job: aftercare::Job) {
        if let Err(TrySendError::Full(job)) = self.aftercare.try_send(job)
            && let Some(left_out) = self.context.stats.log_errors.pass()
        {
            warn!(
                receiver = %self.context.receiver, left_out,
                "{job} will not be compressed or announced: DUMP_ZSTD or ROTATE_COMMAND takes too long"
            );
        }
    }
}
