//! Kernel, capabilities, limits, clock and CPUs.

use std::{collections::BTreeMap, fs};

use caps::Capability::{
    self, CAP_BPF, CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_PERFMON, CAP_SYS_ADMIN,
};
use procfs::process::{LimitValue, Process, all_processes};

use super::{Check, Finding, Need};
use crate::{
    config::{Protocol, Receiver},
    daemon::Status,
    kernel::OLDEST,
    net::socket::UDP_BUFFER,
};

/// Programs that keep the clock right, by their names in `/proc`, of which the kernel keeps 15 bytes.
const CLOCK_SERVICES: [&str; 5] = ["chronyd", "ntpd", "phc2sys", "systemd-timesyn", "openntpd"];
/// Ports below this one take a capability, unless the host says otherwise.
const FIRST_FREE_PORT: u16 = 1024;
/// Exporters that should find room at least.
const EXPORTERS: u64 = 1000;

/// Looks at this machine; at the daemon's rights and limits where it runs, else at our own.
pub fn look(receivers: &[&Receiver], need: Need, status: Option<&Status>) -> Vec<Finding> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let btf = fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false);
    let pid = status.and_then(|status| i32::try_from(status.pid).ok());
    let process = pid.map_or_else(Process::myself, Process::new);
    let own = process.as_ref().ok();
    let set = own.and_then(|process| Some(process.status().ok()?.capeff));
    let files = own.and_then(|process| Some(process.limits().ok()?.max_open_files.hard_limit));
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
    let mut findings = vec![kernel(release.trim(), btf, need)];
    findings.extend(set.map(|set| capabilities(set, receivers, need)));
    if let (Some(set), Some(limit)) = (set, number("/proc/sys/net/core/rmem_max")) {
        findings.push(receive_buffer(limit, set, receivers));
    }
    findings.extend(files.map(|files| open_files(files, receivers)));
    findings.push(clock(&clock_services()));
    findings.extend(cpus(receivers));
    findings
}

fn clock_services() -> Vec<String> {
    let processes = all_processes().into_iter().flatten().flatten();
    let names = processes.filter_map(|process| Some(process.stat().ok()?.comm));
    names.filter(|name| CLOCK_SERVICES.contains(&name.as_str())).collect()
}

pub(super) fn kernel(release: &str, btf: bool, need: Need) -> Finding {
    const CHECK: Check = Check::Kernel;
    let (major, minor) = OLDEST;
    let found = format!("Linux {release}");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u8>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(a), Some(b)) if (a, b) < OLDEST => need.unmet(
            CHECK,
            format!("{found} is older than {major}.{minor}, so that UDP is forwarded in userspace"),
            "Update the kernel; until then it works, with more CPU time.",
        ),
        _ if !btf => need.unmet(
            CHECK,
            format!("{found} has no type information (/sys/kernel/btf/vmlinux)"),
            "Take a kernel that is built with CONFIG_DEBUG_INFO_BTF, as distributions do.",
        ),
        _ => Finding::ok(CHECK, found),
    }
}

pub(super) fn capabilities(set: u64, receivers: &[&Receiver], need: Need) -> Finding {
    const CHECK: Check = Check::Capabilities;
    let has = |capability| has(set, capability);
    let low = receivers.iter().find(|receiver| receiver.port < FIRST_FREE_PORT);
    if let Some(receiver) = low.filter(|_| !has(CAP_NET_BIND_SERVICE)) {
        return Finding::fail(
            CHECK,
            format!(
                "{} listens on port {}, without CAP_NET_BIND_SERVICE",
                receiver.id, receiver.port
            ),
            "Run it by its systemd unit, which gives the capability, or choose a port from 1024 up.",
        );
    }
    let needed = [
        ("CAP_NET_ADMIN", has(CAP_NET_ADMIN)),
        ("CAP_BPF", has(CAP_BPF) || has(CAP_SYS_ADMIN)),
        ("CAP_PERFMON", has(CAP_PERFMON) || has(CAP_SYS_ADMIN)),
    ];
    let missing: Vec<_> =
        needed.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    match missing.is_empty() {
        true => Finding::ok(CHECK, "all that are of use are there"),
        false => need.unmet(
            CHECK,
            format!("the kernel path lacks {}", missing.join(", ")),
            "Run it by its systemd unit, which gives the capabilities, or as root.",
        ),
    }
}

/// Whether a set, the line `CapEff` of `/proc/PID/status`, has this one.
fn has(set: u64, capability: Capability) -> bool {
    set & capability.bitmask() != 0
}

pub(super) fn receive_buffer(rmem_max: u64, set: u64, receivers: &[&Receiver]) -> Finding {
    const CHECK: Check = Check::ReceiveBuffer;
    let wanted = UDP_BUFFER as u64;
    let found = format!("net.core.rmem_max is {rmem_max}");
    let udp = receivers.iter().any(|receiver| receiver.protocol == Protocol::Udp);
    match () {
        () if !udp => Finding::ok(CHECK, found + "; no receiver takes UDP"),
        () if rmem_max >= wanted => Finding::ok(CHECK, found),
        // It may have more than the limit says.
        () if has(set, CAP_NET_ADMIN) => {
            Finding::ok(CHECK, found + "; CAP_NET_ADMIN goes beyond it")
        }
        () => Finding::warn(
            CHECK,
            format!("{found}: bursts over UDP are lost, {wanted} are asked for"),
            format!("`sysctl -w net.core.rmem_max={wanted}`, and the same in /etc/sysctl.d."),
        ),
    }
}

pub(super) fn open_files(limit: LimitValue, receivers: &[&Receiver]) -> Finding {
    const CHECK: Check = Check::OpenFiles;
    let LimitValue::Value(limit) = limit else { return Finding::ok(CHECK, "no limit") };
    let most = receivers.iter().map(|receiver| receiver.outputs().len()).max().unwrap_or(0);
    let exporters = limit / (1 + most as u64);
    let found = format!("{limit}, enough for {exporters} exporters");
    match exporters >= EXPORTERS {
        true => Finding::ok(CHECK, found),
        false => Finding::warn(CHECK, found, "Raise LimitNOFILE in the unit, or `ulimit -Hn`."),
    }
}

pub(super) fn clock(services: &[String]) -> Finding {
    const CHECK: Check = Check::Clock;
    match services.is_empty() {
        false => Finding::ok(CHECK, format!("kept by {}", services.join(", "))),
        true => Finding::warn(
            CHECK,
            "no service that keeps the clock right runs here",
            "Install chrony: dump files are named and rotated by the clock. In a container the host's \
             clock counts, and its service can't be seen.",
        ),
    }
}

/// Receivers that share a CPU delay each other.
pub(super) fn cpus(receivers: &[&Receiver]) -> Vec<Finding> {
    const CHECK: Check = Check::Cpus;
    let mut pinned = BTreeMap::<usize, Vec<String>>::new();
    for receiver in receivers {
        // Who may run on several is not bound to one.
        if let [cpu] = receiver.cpus.as_slice() {
            pinned.entry(*cpu).or_default().push(receiver.id.to_string());
        }
    }
    let shared = pinned.into_iter().filter(|(_, who)| who.len() > 1);
    let warn = |(cpu, who): (usize, Vec<String>)| {
        let found = format!("{} are all pinned to CPU {cpu}", who.join(", "));
        Finding::warn(CHECK, found, "Give each a CPU of its own (TASKSET).")
    };
    shared.map(warn).collect()
}
