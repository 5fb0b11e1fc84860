//! Runs `ipfix-balancer` with a generated configuration in a folder of its own.

mod binary;
mod config;
mod frozen;
mod manager;
mod status;

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub use binary::path as binary;
pub use config::{Mode, Receiver, metrics_at, render};
pub use frozen::Frozen;
pub use manager::Manager;
pub use status::{DestinationStatus, ReceiverStatus, Status};

use crate::collector::Protocol;
use crate::poll;

/// How long a daemon that is dropped may take to end in order, before it is killed: longer than it
/// drains, since a killed one leaves its control socket behind.
const GRACE: Duration = Duration::from_secs(8);

/// A running daemon. Dropped, it is ended, and its folder removed.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    manager: Option<Manager>,
    folder: TempDir,
}

/// What a command printed, and its exit code.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Daemon {
    /// Starts a daemon with these receivers, and waits until it answers.
    pub fn start(receivers: &[Receiver]) -> Result<Self> {
        Self::start_with(&render(receivers))
    }

    /// Starts a daemon with this configuration text, and waits until it answers.
    pub fn start_with(text: &str) -> Result<Self> {
        Self::start_by(&[], text)
    }

    /// Starts a daemon under a service manager, and waits until it answers.
    pub fn start_managed(receivers: &[Receiver]) -> Result<Self> {
        Self::start_in(&[], &render(receivers), true)
    }

    /// Likewise, run by another program: `setpriv` with its arguments, for example.
    pub fn start_by(runner: &[&str], text: &str) -> Result<Self> {
        Self::start_in(runner, text, false)
    }

    fn start_in(runner: &[&str], text: &str, managed: bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ipfix-balancer-").tempdir()?;
        // The daemon may have to run as somebody else.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        std::fs::write(config_in(folder.path()), spooling_in(folder.path(), text))?;
        let manager = managed.then(|| Manager::start(folder.path())).transpose()?;
        let child = spawn(runner, "run", folder.path(), manager.as_ref())?;
        let mut daemon = Self { child, manager, folder };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    /// Ends it as `kill -9` does: nothing is sent, written or taken away any more.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it anew after its end, with the configuration of now, and waits until it answers. To be
    /// called where it was started.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(&[], "run", self.folder.path(), self.manager.as_ref())?;
        self.wait_until_ready()
    }

    /// `ipfix-balancer restart`: another daemon takes over.
    pub fn take_over(&mut self) -> Result<()> {
        let next = spawn(&[], "restart", self.folder.path(), None)?;
        let mut before = std::mem::replace(&mut self.child, next);
        let ended = poll::until(poll::PATIENCE, "the daemon before ended", || {
            before.try_wait().ok().flatten()
        });
        let ended = ended.map_err(|error| error.context(self.log()))?;
        if !ended.success() {
            bail!("it did not end in order: {ended}\n{}", self.log());
        }
        self.wait_until_ready()
    }

    /// What `systemctl restart` does: ends it in order, and starts the next.
    pub fn replace(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let ended = self.wait_for_exit()?;
        if !ended.success() {
            bail!("it did not end in order: {ended}\n{}", self.log());
        }
        self.restart()
    }

    /// Where it notes what it knows of the exporters' sessions of the receiver on `port`.
    pub fn journal(&self, protocol: Protocol, port: u16) -> Result<PathBuf> {
        let end = format!("-{protocol}-{port}");
        let entries = std::fs::read_dir("/run/ipfix-balancer")?.flatten().map(|it| it.path());
        let mut ours = entries.filter(|path| path.to_string_lossy().ends_with(&end));
        ours.next().with_context(|| format!("no journal of {protocol} {port}"))
    }

    /// The service manager that it runs under.
    pub fn manager(&self) -> Result<&Manager> {
        self.manager.as_ref().context("it runs under no service manager")
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let ended = poll::until(poll::PATIENCE, "the daemon answers `status`", || {
            let ended = self.child.try_wait().ok().flatten();
            (ended.is_some() || self.status().is_ok()).then_some(ended)
        });
        match ended {
            Ok(None) => Ok(()),
            Ok(Some(status)) => bail!("the daemon ended at start ({status}):\n{}", self.log()),
            Err(error) => Err(error.context(format!("its log:\n{}", self.log()))),
        }
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        config_in(self.folder.path())
    }

    /// Where receivers spool that do not say it.
    pub fn spool(&self) -> PathBuf {
        spool_in(self.folder.path())
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_in(self.folder.path())).unwrap_or_default()
    }

    /// Waits until the log has a line that contains all of `words`, in any letter case.
    pub fn wait_for_log(&self, words: &[&str]) -> Result<String> {
        let has = |line: &&str| {
            let line = line.to_lowercase();
            words.iter().all(|word| line.contains(&word.to_lowercase()))
        };
        poll::until(poll::PATIENCE, &format!("a line with {words:?} in the log"), || {
            self.log().lines().find(has).map(str::to_owned)
        })
        .map_err(|error| error.context(self.log()))
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What `status --json` says.
    pub fn status(&self) -> Result<Status> {
        let outcome = self.command(&["status", "--json"])?;
        if outcome.code != 0 {
            bail!("status: exit code {}: {}", outcome.code, outcome.stderr);
        }
        Status::parse(&outcome.stdout)
    }

    /// Waits until a receiver's status satisfies `condition`.
    pub fn wait_for(
        &self,
        receiver: &str,
        what: &str,
        condition: impl Fn(&ReceiverStatus) -> bool,
    ) -> Result<()> {
        let seen = || self.status().and_then(|status| status.receiver(receiver)).ok();
        poll::wait(&format!("{receiver}: {what}"), || seen().is_some_and(|now| condition(&now)))
            .map_err(|error| error.context(format!("status {:?}\nlog:\n{}", seen(), self.log())))
    }

    /// Replaces the configuration file, and nothing else.
    pub fn edit(&self, receivers: &[Receiver]) -> Result<()> {
        self.edit_text(&render(receivers))
    }

    /// Replaces the configuration file by this text.
    pub fn edit_text(&self, text: &str) -> Result<()> {
        Ok(std::fs::write(self.config(), spooling_in(self.folder.path(), text))?)
    }

    /// `ipfix-balancer reload`.
    pub fn reload(&self) -> Result<Outcome> {
        self.command(&["reload"])
    }

    /// Runs `ipfix-balancer` with these arguments and this daemon's `--config`.
    pub fn command(&self, arguments: &[&str]) -> Result<Outcome> {
        command(arguments, &self.config())
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Stops all of the daemon's threads (SIGSTOP), and waits until they stand: the first one that gets
    /// the signal passes it on, and the others run until it has had a CPU.
    pub fn halt(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        poll::until_ok(|| {
            for thread in std::fs::read_dir(format!("/proc/{}/task", self.pid()))? {
                let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
                // Behind the name, which may hold anything (proc_pid_stat(5)).
                let stands = stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T"));
                ensure!(stands, "{stat}");
            }
            Ok(())
        })
    }

    /// Waits for the daemon to end by itself.
    pub fn wait_for_exit(&mut self) -> Result<ExitStatus> {
        self.exit_within(poll::PATIENCE).map_err(|error| error.context(self.log()))
    }

    fn exit_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        poll::until(limit, "the daemon ended", || child.try_wait().ok().flatten())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The only place where a failed test can still show it.
            let mut stderr = std::io::stderr().lock();
            drop(std::io::Write::write_all(&mut stderr, self.log().as_bytes()));
        }
        // Either may find that it has ended already.
        drop(self.signal(Signal::SIGTERM));
        if self.exit_within(GRACE).is_err() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        // The folder goes, and with it the name by which anybody could find what is in the kernel.
        drop(self.command(&["stop", "--purge"]));
    }
}

/// Runs `ipfix-balancer` with these arguments and `--config`, and waits for its end.
pub fn command(arguments: &[&str], config: &Path) -> Result<Outcome> {
    let mut command = Command::new(binary()?);
    command.args(arguments).arg("--config").arg(config);
    outcome(&mut command)
}

/// Runs a command to its end. It reads nothing.
pub fn outcome(command: &mut Command) -> Result<Outcome> {
    outcome_of(command.stdin(Stdio::null()))
}

/// Runs a command to its end, with the standard input that it has been given.
pub fn outcome_of(command: &mut Command) -> Result<Outcome> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    Ok(Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Starts a daemon with the configuration in `folder`; its log goes there as well.
fn spawn(runner: &[&str], what: &str, folder: &Path, manager: Option<&Manager>) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log_in(folder))?;
    let runner = match manager {
        Some(_) => &manager::SHELL,
        None => runner,
    };
    let mut words = runner.iter().map(OsStr::new).chain([binary()?.as_os_str()]);
    let mut command = Command::new(words.next().context("no program")?);
    command
        .args(words)
        .args([what, "--config"])
        .arg(config_in(folder))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    if let Some(manager) = manager {
        manager.prepare(&mut command)?;
    }
    command.spawn().context("start the daemon")
}

fn config_in(folder: &Path) -> PathBuf {
    folder.join("balancer.env")
}

fn spool_in(folder: &Path) -> PathBuf {
    folder.join("spool")
}

/// The text with a SPOOL_DIR in the daemon's folder for every receiver without one.
fn spooling_in(folder: &Path, text: &str) -> String {
    let mut result = text.to_owned();
    for line in text.lines() {
        let Some((stream, rest)) = line.trim().split_once("_PORT[") else { continue };
        let Some((index, _)) = rest.split_once(']').filter(|_| stream.starts_with("IPFIX_")) else {
            continue;
        };
        let key = format!("{stream}_SPOOL_DIR[{index}]=");
        if !text.contains(&key) {
            result.push_str(&format!("{key}{}\n", spool_in(folder).display()));
        }
    }
    result
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("log")
}
