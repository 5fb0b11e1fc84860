//! A thread that stands still, while the others of its process go on.

use anyhow::{Context, Result};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Goes on when this is dropped, by the thread that has stopped it.
#[derive(Debug)]
pub struct Frozen(Pid);

impl Frozen {
    /// Stops the thread of this name.
    pub fn thread(process: u32, name: &str) -> Result<Self> {
        let thread = find(process, name)?;
        ptrace::seize(thread, ptrace::Options::empty())?;
        let frozen = Self(thread);
        ptrace::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // One whose process was killed is not gone before this has taken note of it.
        if ptrace::detach(self.0, None).is_err() {
            let _ = waitpid(self.0, Some(WaitPidFlag::__WALL));
        }
    }
}

fn find(process: u32, name: &str) -> Result<Pid> {
    for entry in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let entry = entry?;
        if std::fs::read_to_string(entry.path().join("comm"))?.trim_end() == name {
            let thread = entry.file_name().to_string_lossy().parse()?;
            return Ok(Pid::from_raw(thread));
        }
    }
    None.with_context(|| format!("process {process} has no thread {name}"))
}
