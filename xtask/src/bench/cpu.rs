//! CPU time, of processes and of the machine, and memory: what the kernel says.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use super::Protocol;

/// Time that one unit in `/proc` stands for: `USER_HZ` is 100 on every Linux of today.
const TICK: Duration = Duration::from_millis(10);

/// CPU time that a process has used so far, with its threads, to the nanosecond.
pub fn of_process(id: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(id.try_into()?))
        .with_context(|| format!("process {id} has no clock"))?;
    Ok(clock.now()?.into())
}

/// CPU time that the whole machine has used so far, not idling.
pub fn of_machine() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<u32> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy = times.iter().take(8).enumerate().filter(|(place, _)| !matches!(place, 3 | 4));
    Ok(TICK * busy.map(|(_, ticks)| ticks).sum::<u32>())
}

/// A line of `/proc/PID/status` that is a number of KiB, such as `VmRSS` or `VmHWM`.
pub fn memory_kib(id: u32, line: &str) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    let value = found.and_then(|value| value.trim().strip_suffix(" kB"));
    Ok(value.with_context(|| format!("no {line}"))?.parse()?)
}

/// Datagrams that the kernel dropped before the socket on this local address read them.
pub fn udp_drops(address: SocketAddr) -> Result<u64> {
    let port = format!(":{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/udp")?;
    let row = table
        .lines()
        .find(|row| row.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port)));
    let drops = row.and_then(|row| row.split_whitespace().last()).unwrap_or("0");
    Ok(drops.parse()?)
}

/// Whether anybody listens on the port of this address, where the process is.
pub fn listens(id: u32, protocol: Protocol, address: SocketAddr) -> Result<bool> {
    let (table, state) = match protocol {
        Protocol::Tcp => ("tcp", "0A"),
        Protocol::Udp => ("udp", "07"),
    };
    let port = format!(":{:04X}", address.port());
    let rows = fs::read_to_string(format!("/proc/{id}/net/{table}"))?;
    Ok(rows.lines().any(|row| {
        let mut words = row.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some(state)
    }))
}
