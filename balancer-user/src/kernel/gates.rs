//! What the kernel path has to pass: one look at each gate, for people who wonder why it is closed.

use std::{fmt, fs};

use aya::util::KernelVersion;

use super::status::OLDEST;

const CAP_NET_ADMIN: u32 = 12;
const CAP_BPF: u32 = 39;
/// Pointer arithmetic in programs.
const CAP_PERFMON: u32 = 38;
const CAP_SYS_ADMIN: u32 = 21;

/// A condition, and whether it holds; `None` where that can't be told.
#[derive(Debug)]
pub struct Gate {
    name: String,
    open: Option<bool>,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.open {
            Some(true) => "open",
            Some(false) => "CLOSED",
            None => "unknown",
        };
        write!(f, "{}: {state}", self.name)
    }
}

/// Looks at every gate.
pub fn look() -> Vec<Gate> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = effective_capabilities(&status);
    let has = |bit: u32| capabilities.map(|set| set >> bit & 1 == 1);
    let any = |a: Option<bool>, b: Option<bool>| Some(a? || b?);
    let (major, minor) = OLDEST;
    let version = KernelVersion::current().ok();
    let gates = [
        ("CAP_BPF or CAP_SYS_ADMIN", any(has(CAP_BPF), has(CAP_SYS_ADMIN))),
        ("CAP_PERFMON or CAP_SYS_ADMIN", any(has(CAP_PERFMON), has(CAP_SYS_ADMIN))),
        ("CAP_NET_ADMIN", has(CAP_NET_ADMIN)),
        ("programs allowed here (seccomp)", no_filter(&status)),
        ("type information (/sys/kernel/btf/vmlinux)", fs::exists("/sys/kernel/btf/vmlinux").ok()),
    ];
    let kernel = Gate {
        name: format!("Linux {major}.{minor} or later"),
        open: version.map(|version| version >= KernelVersion::new(major, minor, 0)),
    };
    let gates = gates.into_iter().map(|(name, open)| Gate { name: name.to_owned(), open });
    [kernel].into_iter().chain(gates).collect()
}

/// The line `CapEff` of `/proc/self/status`.
fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Whether no system call filter is in force: one may refuse `bpf`.
fn no_filter(status: &str) -> Option<bool> {
    let line = status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?;
    // With a filter the answer is with whoever wrote it.
    (line.trim() == "0").then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_from_the_status_file() {
        let status = "Name:\tx\nCapEff:\t0000008000001000\nSeccomp:\t2\n";
        let capabilities = effective_capabilities(status).unwrap();
        assert_eq!(capabilities, 1 << CAP_BPF | 1 << CAP_NET_ADMIN);
        assert_eq!(no_filter(status), None);
        assert_eq!(no_filter("Seccomp:\t0\n"), Some(true));
        assert_eq!(effective_capabilities(""), None);
    }

    #[test]
    fn a_gate_says_its_state() {
        let gate = |open| Gate { name: "CAP_BPF".to_owned(), open }.to_string();
        assert_eq!(gate(Some(false)), "CAP_BPF: CLOSED");
        assert_eq!(gate(None), "CAP_BPF: unknown");
    }
}
