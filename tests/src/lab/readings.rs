//! What the kernel has counted.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

/// Protocol counters of one network namespace, named as `nstat` names them: `UdpInCsumErrors`,
/// `Udp6InErrors`, `IpReasmOKs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, i64>);

impl Counters {
    /// Those of the calling thread's namespace: `/proc/net` would be that of the process.
    pub(super) fn read() -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/thread-self/net/{file}");
            std::fs::read_to_string(&path).context(path)
        };
        let mut counters = paired(&read("snmp")?);
        counters.extend(paired(&read("netstat")?));
        counters.extend(listed(&read("snmp6")?));
        Ok(Self(counters))
    }

    /// One counter. A name that the kernel does not have is an error, not zero.
    pub fn count(&self, name: &str) -> Result<i64> {
        self.0.get(name).copied().with_context(|| format!("there is no counter {name}"))
    }

    /// UDP datagrams refused for their checksum, IPv4 and IPv6.
    pub fn udp_checksum_errors(&self) -> Result<i64> {
        Ok(self.count("UdpInCsumErrors")? + self.count("Udp6InCsumErrors")?)
    }
}

/// From pairs of lines: `Udp: InDatagrams NoPorts`, then `Udp: 7 0`.
fn paired(text: &str) -> BTreeMap<String, i64> {
    let lines: Vec<_> = text.lines().filter_map(|line| line.split_once(": ")).collect();
    let pairs = lines.chunks_exact(2).filter_map(|pair| match pair {
        [(group, names), (_, values)] => Some((group, names, values)),
        _ => None,
    });
    pairs
        .flat_map(|(group, names, values)| {
            let name = move |(name, value): (&str, &str)| {
                Some((format!("{group}{name}"), value.parse().ok()?))
            };
            names.split(' ').zip(values.split(' ')).filter_map(name)
        })
        .collect()
}

/// From lines: `Udp6InDatagrams     7`.
fn listed(text: &str) -> BTreeMap<String, i64> {
    let counter = |line: &str| {
        let mut fields = line.split_whitespace();
        Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
    };
    text.lines().filter_map(counter).collect()
}

/// What an interface has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames received.
    pub received: u64,
    /// Octets of these.
    pub received_octets: u64,
    /// Frames received and dropped.
    pub receive_drops: u64,
    /// Frames received that were faulty.
    pub receive_errors: u64,
    /// Frames sent.
    pub sent: u64,
    /// Octets of these.
    pub sent_octets: u64,
    /// Frames that could not be sent: for veth, those the other end did not take.
    pub send_drops: u64,
    /// Frames whose sending failed.
    pub send_errors: u64,
}

impl LinkCounters {
    /// From `ip -s -j link show`.
    pub(super) fn parse(json: &str) -> Result<Self> {
        let links: Value = serde_json::from_str(json)?;
        let statistics = links.pointer("/0/stats64").context("no statistics of an interface")?;
        let count = |path: &str| {
            let value = statistics.pointer(path).and_then(Value::as_u64);
            value.with_context(|| format!("no {path} in {statistics}"))
        };
        Ok(Self {
            received: count("/rx/packets")?,
            received_octets: count("/rx/bytes")?,
            receive_drops: count("/rx/dropped")?,
            receive_errors: count("/rx/errors")?,
            sent: count("/tx/packets")?,
            sent_octets: count("/tx/bytes")?,
            send_drops: count("/tx/dropped")?,
            send_errors: count("/tx/errors")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_counters_are_read() {
        let text = "Ip: Forwarding DefaultTTL\nIp: 2 64\nUdp: InDatagrams InCsumErrors\nUdp: 7 1\n";
        let mut counters = paired(text);
        counters.extend(listed("Udp6InDatagrams                 \t3\nUdp6InCsumErrors \t0\n"));
        let counters = Counters(counters);
        assert_eq!(counters.count("UdpInDatagrams").unwrap(), 7);
        assert_eq!(counters.count("Udp6InDatagrams").unwrap(), 3);
        assert_eq!(counters.udp_checksum_errors().unwrap(), 1);
        assert!(counters.count("UdpNothing").is_err());
    }

    #[test]
    fn this_machine_has_the_counters() {
        assert_eq!(Counters::read().unwrap().count("TcpExtNoSuch").ok(), None);
        Counters::read().unwrap().udp_checksum_errors().unwrap();
    }

    #[test]
    fn link_counters_are_read() {
        let json = r#"[{"ifname":"eth0","stats64":{
            "rx":{"bytes":10,"packets":1,"errors":2,"dropped":3},
            "tx":{"bytes":20,"packets":4,"errors":5,"dropped":6}}}]"#;
        let counters = LinkCounters::parse(json).unwrap();
        assert_eq!((counters.received, counters.receive_drops), (1, 3));
        assert_eq!((counters.sent_octets, counters.send_drops), (20, 6));
        assert!(LinkCounters::parse("[]").is_err());
    }
}
