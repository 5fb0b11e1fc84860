//! One network namespace with a name.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::readings::Counters;
use crate::daemon::{Outcome, outcome};

/// Where `ip netns` keeps namespaces.
const FOLDER: &str = "/run/netns";
/// Begins every name; the id of the process and a number follow.
const PREFIX: &str = "ipfixlab-";

/// Two processes of `ip` that make the first namespace of a machine disturb each other.
static MAKING: Mutex<()> = Mutex::new(());
static MADE: AtomicUsize = AtomicUsize::new(0);

/// A named network namespace with its loopback up. Its name goes when it is dropped; itself, when
/// the last socket and process in it are gone.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one; `role` tells it from others in `ip netns`.
    pub(super) fn new(role: &str) -> Result<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{role}", std::process::id());
        let making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        ip(["netns", "add", &name])?;
        drop(making);
        let namespace = Self { name };
        namespace.settle()?;
        Ok(namespace)
    }

    /// Nothing here depends on the host's settings, which a new namespace inherits in part.
    fn settle(&self) -> Result<()> {
        self.ip("link set lo up")?;
        self.forward(false)?;
        for interfaces in ["all", "default"] {
            // An address can be used at once, and nothing waits for routers.
            self.set(&format!("ipv6/conf/{interfaces}/accept_dad"), "0")?;
            self.set(&format!("ipv6/conf/{interfaces}/accept_ra"), "0")?;
            self.set(&format!("ipv6/conf/{interfaces}/disable_ipv6"), "0")?;
            // IPv4 addresses stay on an interface that is switched off, too.
            self.set(&format!("ipv6/conf/{interfaces}/keep_addr_on_down"), "1")?;
            // Redirects arrive by more than one interface.
            self.set(&format!("ipv4/conf/{interfaces}/rp_filter"), "0")?;
        }
        Ok(())
    }

    /// The name as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it, as `nsenter --net=` takes it.
    pub fn path(&self) -> String {
        format!("{FOLDER}/{}", self.name)
    }

    /// Runs `work` on a new thread inside this namespace, and gives its result.
    ///
    /// Sockets, threads and processes that it makes belong here and stay here: exporters,
    /// collectors, tools and daemons are started in such a call, and used from anywhere. What
    /// binds or connects later, `Collector::resume` for example, takes another call. `/sys` and
    /// `/proc/net` are those of the rest of the process: read `/proc/thread-self/net`.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        inside(Path::new(&self.path()), work)?
    }

    /// Runs `ip` for this namespace, for example `ip("route replace 10.77.2.0/24 via 10.77.1.9")`,
    /// and gives its output.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        ip(["-n", &self.name].into_iter().chain(arguments.split_whitespace()))
    }

    /// Writes a setting below `/proc/sys/net`, for example `set("ipv4/ip_forward", "1")`.
    pub fn set(&self, setting: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{setting}");
        self.run(|| std::fs::write(&path, value).with_context(|| format!("{path} = {value}")))
    }

    /// The counters of the protocols: IP, ICMP, UDP, TCP.
    pub fn counters(&self) -> Result<Counters> {
        self.run(Counters::read)
    }

    /// The ids of the processes that run in it.
    pub fn processes(&self) -> Result<Vec<u32>> {
        processes(&self.name)
    }

    /// Forgets every neighbour.
    pub fn flush_neighbours(&self) -> Result<()> {
        self.ip("neigh flush all").map(drop)
    }

    pub(super) fn forward(&self, forwards: bool) -> Result<()> {
        let value = if forwards { "1" } else { "0" };
        self.set("ipv4/ip_forward", value)?;
        self.set("ipv6/conf/all/forwarding", value)
    }

    /// Runs another program to its end in this namespace.
    pub(super) fn command(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.run(|| checked(Command::new(program).args(arguments)))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(ip(["netns", "delete", &self.name]));
    }
}

/// Runs `work` where this process was started, also when the calling thread is in a lab.
pub(crate) fn at_home<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    let home = Path::new("/proc/self/ns/net");
    if std::fs::read_link(home)? == std::fs::read_link("/proc/thread-self/ns/net")? {
        return Ok(work());
    }
    inside(home, work)
}

fn inside<T: Send>(namespace: &Path, work: impl FnOnce() -> T + Send) -> Result<T> {
    let file = File::open(namespace).with_context(|| namespace.display().to_string())?;
    let enter = || {
        setns(file, CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
        Ok(work())
    };
    let thread = std::thread::current();
    let named = std::thread::Builder::new().name(thread.name().unwrap_or("lab").to_owned());
    std::thread::scope(|scope| match named.spawn_scoped(scope, enter)?.join() {
        Ok(result) => result,
        // A test that failed inside fails.
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn ip<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
    checked(Command::new("ip").args(arguments))
}

fn checked(command: &mut Command) -> Result<String> {
    let Outcome { code, stdout, stderr } =
        outcome(command).context("is it installed? run `cargo xtask setup`")?;
    ensure!(code == 0, "{command:?}: exit code {code}: {stderr}{stdout}");
    Ok(stdout)
}

/// True if the kernel can make VLAN interfaces. Loopback cannot have any: nothing is made here.
pub(super) fn has_vlans() -> bool {
    let attempt = ip("link add link lo name ipfixlab type vlan id 1".split(' '));
    attempt.is_err_and(|error| !error.to_string().contains("Unknown device type"))
}

/// Removes the namespaces of test processes that were killed, with whatever still runs in them.
pub(super) fn remove_leftovers() -> Result<()> {
    // No folder: nobody has made a namespace yet.
    let Ok(entries) = std::fs::read_dir(FOLDER) else { return Ok(()) };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names.filter(|name| owner(name).is_some_and(is_gone)) {
        // Somebody else may be at the same.
        processes(&name).unwrap_or_default().into_iter().for_each(|pid| drop(end(pid)));
        drop(ip(["netns", "delete", &name]));
    }
    Ok(())
}

pub(super) fn processes(name: &str) -> Result<Vec<u32>> {
    let pids = ip(["netns", "pids", name])?;
    pids.split_whitespace().map(|pid| Ok(pid.parse()?)).collect()
}

fn end(pid: u32) -> Result<()> {
    Ok(kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?)
}

/// The process that made a namespace.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}
