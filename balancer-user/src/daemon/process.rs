//! What the daemon takes of the machine, as the kernel counts it.

use procfs::{
    ProcError,
    process::{LimitValue, Process, Stat},
};

use super::status::ProcessStatus;

/// The process as a whole. What can't be read is 0.
pub fn look() -> ProcessStatus {
    read().unwrap_or_default()
}

fn read() -> Result<ProcessStatus, ProcError> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let max_files = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Value(files) => files,
        LimitValue::Unlimited => u64::MAX,
    };
    Ok(ProcessStatus {
        cpu_milliseconds: cpu_milliseconds(&stat),
        resident_bytes: stat.rss * procfs::page_size(),
        open_files: u64::try_from(process.fd_count()?).unwrap_or(u64::MAX),
        max_files,
    })
}

/// CPU time of one of its threads; 0 once it has ended.
pub fn thread_cpu_milliseconds(thread: u64) -> u64 {
    let thread = i32::try_from(thread).unwrap_or_default();
    let stat = Process::myself().and_then(|process| process.task_from_tid(thread)?.stat());
    stat.as_ref().map_or(0, cpu_milliseconds)
}

fn cpu_milliseconds(stat: &Stat) -> u64 {
    (stat.utime + stat.stime) * 1000 / procfs::ticks_per_second().max(1)
}
