//! The thread that looks after finished dump files: compresses them, tells other programs, and
//! deletes old ones.

use std::{
    fmt,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant, SystemTime},
};

use tracing::{info, warn};

use super::{compress::compress, context::Context, notify, retention};

/// How often files that have become too old are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// Something to do, in order.
#[derive(Debug)]
pub enum Job {
    /// A file has its final name.
    Finished(PathBuf),
    /// All files of an interval have.
    Turned,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Job::Finished(path) => path.display().fmt(f),
            Job::Turned => f.write_str("a rotation"),
        }
    }
}

/// Works until there is nobody left to give jobs.
pub fn run(context: &Context, jobs: &Receiver<Job>) {
    let mut next_sweep = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_sweep {
            sweep(context);
            next_sweep = now + SWEEP;
        }
        match jobs.recv_timeout(next_sweep.saturating_duration_since(now)) {
            Ok(Job::Finished(path)) => announce(context, path),
            Ok(Job::Turned) => {
                hang_up(context);
                next_sweep = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn announce(context: &Context, path: PathBuf) {
    let settings = context.settings();
    let path = match settings.zstd {
        true => compress(&path).unwrap_or_else(|error| {
            context.complain("compress", &path, &error);
            path
        }),
        false => path,
    };
    let Some(command) = &settings.command else { return };
    if let Err(error) = notify::run(command, &path) {
        warn!(receiver = %context.receiver, file = %path.display(), "ROTATE_COMMAND failed: {error}");
    }
}

fn hang_up(context: &Context) {
    let settings = context.settings();
    let Some(pidfile) = &settings.hup_pidfile else { return };
    if let Err(error) = notify::hang_up(pidfile)
        && let Some(left_out) = context.stats.log_hangups.pass()
    {
        let file = pidfile.display();
        warn!(receiver = %context.receiver, %file, left_out, "can't send HUP (ROTATE_HUP_PIDFILE): {error}");
    }
}

fn sweep(context: &Context) {
    let settings = context.settings();
    let (deleted, failed) = retention::sweep(&settings, context.receiver, SystemTime::now());
    if deleted > 0 {
        info!(receiver = %context.receiver, deleted, "old dump files were deleted");
    }
    if let Some(error) = failed {
        context.complain("delete old files in", &settings.dir, &error);
    }
}
