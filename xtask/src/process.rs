//! Processes that end when their guard does, and a launcher that sets where and how they run.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::interrupt;

/// How often a state that has to be waited for is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Waits until `condition` gives a value, an error, or the time is up.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        interrupt::check()?;
        if Instant::now() > deadline {
            bail!("{what}: not within {} s", limit.as_secs_f32());
        }
        sleep(POLL);
    }
}

/// As many open files as the system lets us have, for us and for what we start.
pub fn raise_open_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Runs a command to its end without input and output.
pub fn silent(command: &mut Command) -> Result<ExitStatus> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().with_context(|| format!("cannot start {command:?}"))
}

/// Where and how a process runs.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// The CPUs it may use; empty for all.
    pub cpus: Vec<usize>,
    /// What is added to its nice value: a positive number makes way for others.
    pub nice: i32,
    /// The network namespace it is in, as a file; ours otherwise.
    pub network: Option<PathBuf>,
}

/// Where a process's output goes.
#[derive(Debug)]
pub enum Output {
    /// Where ours goes.
    Shown,
    /// Into a file, errors included.
    File(File),
}

/// A running process; dropping it ends it, politely first.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Takes away what outlives it.
    afterwards: Option<Command>,
}

impl Process {
    /// Starts `program` by way of this program's own launcher, so that it dies with us.
    pub fn start(
        name: &str,
        placement: &Placement,
        program: &Path,
        arguments: impl IntoIterator<Item = OsString>,
        output: Output,
    ) -> Result<Self> {
        Self::reading(name, placement, program, arguments, Stdio::null(), output)
    }

    /// The same, for a program that has input.
    pub fn reading(
        name: &str,
        placement: &Placement,
        program: &Path,
        arguments: impl IntoIterator<Item = OsString>,
        input: Stdio,
        output: Output,
    ) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("launch").arg(format!("--nice={}", placement.nice));
        for cpu in &placement.cpus {
            command.arg(format!("--cpu={cpu}"));
        }
        if let Some(network) = &placement.network {
            command.arg("--network").arg(network);
        }
        command.arg("--").arg(program).args(arguments).stdin(input);
        if let Output::File(file) = output {
            command.stdout(file.try_clone()?).stderr(file);
        }
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, afterwards: None })
    }

    /// Has `command` run, without output, once the process has ended and its guard is dropped.
    pub fn afterwards(mut self, command: Command) -> Self {
        self.afterwards = Some(command);
        self
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error if the process has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended unexpectedly: {status}", self.name),
            None => Ok(()),
        }
    }

    /// Asks the process to end, and kills it if it has not within the limit; and with it what it has
    /// started and left behind.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        let started = family(self.child.id())?.split_off(1);
        let status = self.end(limit)?;
        for id in started {
            end_left_behind(id)?;
        }
        Ok(status)
    }

    fn end(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Ok(id) = i32::try_from(self.child.id()) {
            kill(Pid::from_raw(id), Signal::SIGTERM)?;
        }
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            sleep(POLL);
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop(Duration::from_secs(5)) {
            eprintln!("{}: cannot be stopped: {error:#}", self.name);
        }
        if let Some(command) = &mut self.afterwards
            && !silent(command).is_ok_and(|status| status.success())
        {
            eprintln!("{}: failed afterwards: {command:?}", self.name);
        }
    }
}

/// A process, and all that it and its children have started.
pub fn family(id: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let child = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        // It may have ended meanwhile.
        parents.extend(child.and_then(|child| Some((child, parent(child)?))));
    }
    let mut family = vec![id];
    let mut place = 0;
    while let Some(parent) = family.get(place).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| child));
        place += 1;
    }
    Ok(family)
}

/// Kills a process that has outlived the one that started it, if it has.
fn end_left_behind(id: u32) -> Result<()> {
    match kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("process {id} cannot be ended")),
    }
}

fn parent(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// The hidden launcher: sets what is inherited, then becomes the program.
#[derive(clap::Args)]
pub struct LaunchArgs {
    #[arg(long)]
    cpu: Vec<usize>,
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    nice: i32,
    #[arg(long)]
    network: Option<PathBuf>,
    program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Becomes the program of `args`; comes back with an error only.
pub fn launch(args: &LaunchArgs) -> Result<std::process::ExitCode> {
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    SigSet::all().thread_unblock()?;
    if !args.cpu.is_empty() {
        pin(Pid::from_raw(0), &args.cpu)?;
    }
    if let Some(network) = &args.network {
        setns(File::open(network)?, CloneFlags::CLONE_NEWNET)?;
    }
    let mut command = Command::new("nice");
    command.arg(format!("--adjustment={}", args.nice)).arg(&args.program).args(&args.arguments);
    Err(command.exec()).context("cannot start nice")
}

/// Binds a thread to CPUs; 0 is the calling one.
pub fn pin(thread: Pid, cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().try_for_each(|cpu| set.set(*cpu))?;
    Ok(sched_setaffinity(thread, &set)?)
}
