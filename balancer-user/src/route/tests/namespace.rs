//! Network namespaces for the tests of this module, each owned by a thread.

use std::{
    fs::File,
    os::fd::AsRawFd,
    panic::resume_unwind,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    unistd::geteuid,
};

/// Longer than a neighbour takes to fail and to come back.
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs a test in a network namespace of its own.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    if !geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root, and CI has to run it");
        eprintln!("skipped: needs root");
        return;
    }
    let thread = thread::spawn(|| {
        enter_new();
        test();
    });
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

fn enter_new() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    // IPv6 addresses can be used at once.
    sysctl("net/ipv6/conf/default/accept_dad", 0);
    run("ip link set lo up");
}

/// Another host, joined to the calling thread's namespace by veth pairs. It has the namespace of a
/// thread that has ended: the file keeps it.
pub struct Peer {
    namespace: File,
}

impl Peer {
    pub fn new() -> Self {
        let namespace = thread::spawn(|| {
            enter_new();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self { namespace: namespace.join().unwrap() }
    }

    /// Makes the veth pair `name` here and `name` there, both up.
    pub fn join(&self, name: &str) {
        let file = format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd());
        run(&format!("ip link add {name} type veth peer name {name} netns {file}"));
        run(&format!("ip link set {name} up"));
        self.run(&format!("ip link set {name} up"));
    }

    /// Runs a command on that host.
    pub fn run(&self, command: &str) {
        thread::scope(|scope| {
            scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET).unwrap();
                run(command);
            });
        });
    }

    /// The Ethernet address of one of that host's interfaces.
    pub fn mac(&self, interface: &str) -> [u8; 6] {
        thread::scope(|scope| {
            let mac = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET).unwrap();
                mac(interface)
            });
            mac.join().unwrap()
        })
    }
}

/// The Ethernet address of an interface.
pub fn mac(interface: &str) -> [u8; 6] {
    let link = output(&format!("ip -br link show {interface}"));
    let mac = link.split_whitespace().nth(2).unwrap();
    let bytes: Vec<_> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// The index of an interface.
pub fn index(interface: &str) -> u32 {
    nix::net::if_::if_nametoindex(interface).unwrap()
}

/// Runs a command in the calling thread's namespace.
pub fn run(command: &str) {
    output(command);
}

/// What a command says.
pub fn output(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Sets a parameter of the calling thread's namespace.
pub fn sysctl(name: &str, value: u32) {
    std::fs::write(format!("/proc/sys/{name}"), value.to_string()).unwrap();
}

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not in {DEADLINE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
