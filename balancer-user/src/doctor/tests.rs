use std::{io, net::IpAddr, path::Path};

use procfs::process::LimitValue;

use super::*;
use crate::{
    config::{Config, Environment},
    doctor::{disk::Room, machine, network},
};

const ALL_CAPABILITIES: u64 = u64::MAX;

fn config(text: &str) -> Config {
    Config::parse(Path::new(".env"), text, &Environment::default()).unwrap().config
}

/// UDP to UDP, on a port below 1024.
fn kernel_path() -> Config {
    config(
        "IPFIX_FULLFLOW_PORT=514\nIPFIX_FULLFLOW_PORT_TYPE=udp\nIPFIX_FULLFLOW_BALANCER=All\n\
         IPFIX_FULLFLOW_BALANCER_SUB=10.0.0.1/1500\nIPFIX_FULLFLOW_BALANCER_SUB_PROTO=udp\n",
    )
}

fn recording() -> Config {
    config("IPFIX_FULLFLOW_DUMP_DIR=/nonexistent/dump\n")
}

fn receivers(config: &Config) -> Vec<&Receiver> {
    config.receivers.iter().map(AsRef::as_ref).collect()
}

fn verdicts(findings: &[Finding]) -> Vec<Verdict> {
    findings.iter().map(|finding| finding.verdict).collect()
}

#[test]
fn the_kernel_path_is_needed_by_udp_to_udp() {
    assert_eq!(Need::of(&receivers(&kernel_path())), Need::Wanted);
    assert_eq!(Need::of(&receivers(&recording())), Need::None);
    let required = "IPFIX_FULLFLOW_PORT_TYPE=udp\nIPFIX_FULLFLOW_BALANCER=All\n\
                    IPFIX_FULLFLOW_BALANCER_SUB=10.0.0.1/1500\nIPFIX_FULLFLOW_BALANCER_SUB_PROTO=udp\n\
                    IPFIX_FULLFLOW_ACCEL=require\n";
    assert_eq!(Need::of(&receivers(&config(required))), Need::Required);
}

#[test]
fn an_old_kernel_matters_as_much_as_the_kernel_path_is_needed() {
    for (release, btf, need, verdict) in [
        ("6.18.5-amd64", true, Need::Required, Verdict::Ok),
        ("5.12", true, Need::Wanted, Verdict::Ok),
        ("5.11.0-1", true, Need::Wanted, Verdict::Warn),
        ("4.19.0", true, Need::Required, Verdict::Fail),
        ("4.19.0", true, Need::None, Verdict::Ok),
        ("6.1.0", false, Need::Wanted, Verdict::Warn),
    ] {
        assert_eq!(machine::kernel(release, btf, need).verdict, verdict, "{release}");
    }
}

#[test]
fn missing_capabilities_are_named() {
    let config = kernel_path();
    let receivers = receivers(&config);
    let check = |set| machine::capabilities(set, &receivers, Need::Wanted);
    assert_eq!(check(ALL_CAPABILITIES).verdict, Verdict::Ok);
    let without = |capability: u32| check(ALL_CAPABILITIES & !(1 << capability));
    let port = without(10);
    assert_eq!(port.verdict, Verdict::Fail);
    assert!(port.found.contains("port 514"), "{port}");
    assert!(without(12).found.contains("CAP_NET_ADMIN"));
    assert_eq!(without(12).verdict, Verdict::Warn);
    assert_eq!(without(39).verdict, Verdict::Ok, "CAP_SYS_ADMIN will do");
}

#[test]
fn a_small_receive_buffer_is_fine_without_udp_or_with_the_right_to_go_beyond() {
    let udp = kernel_path();
    let udp = receivers(&udp);
    let small = machine::receive_buffer(212_992, 0, &udp);
    assert_eq!(small.verdict, Verdict::Warn);
    assert!(small.advice.unwrap().contains("sysctl -w net.core.rmem_max="));
    assert_eq!(machine::receive_buffer(212_992, ALL_CAPABILITIES, &udp).verdict, Verdict::Ok);
    assert_eq!(machine::receive_buffer(64 << 20, 0, &udp).verdict, Verdict::Ok);
    let tcp = recording();
    assert_eq!(machine::receive_buffer(212_992, 0, &receivers(&tcp)).verdict, Verdict::Ok);
}

#[test]
fn few_open_files_are_few_exporters() {
    let config = kernel_path();
    let check = |limit| machine::open_files(limit, &receivers(&config));
    assert!(check(LimitValue::Value(1024)).found.contains("512 exporters"));
    assert_eq!(check(LimitValue::Value(1024)).verdict, Verdict::Warn);
    assert_eq!(check(LimitValue::Value(1 << 20)).verdict, Verdict::Ok);
    assert_eq!(check(LimitValue::Unlimited).verdict, Verdict::Ok);
}

#[test]
fn a_clock_that_nobody_keeps_right_is_told() {
    assert_eq!(machine::clock(&[]).verdict, Verdict::Warn);
    assert_eq!(machine::clock(&["chronyd".to_owned()]).verdict, Verdict::Ok);
}

#[test]
fn receivers_on_one_cpu_are_told() {
    let text = "IPFIX_FULLFLOW_TASKSET=0\nIPFIX_CLICKSTREAM_TASKSET=0\nIPFIX_CLICKSTREAM_ROTATE_MINUTES=10";
    let config = config(text);
    let findings = machine::cpus(&receivers(&config));
    assert_eq!(verdicts(&findings), [Verdict::Warn]);
    assert!(findings[0].found.contains("FULLFLOW[0], CLICKSTREAM[0]"), "{}", findings[0]);
    assert_eq!(machine::cpus(&receivers(&kernel_path())), []);
}

#[test]
fn neighbours_count_only_where_they_are_wanted() {
    let [silent, other]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.9"].map(|ip| ip.parse().unwrap());
    assert_eq!(verdicts(&network::neighbours(&[silent, other], &[silent])), [Verdict::Fail]);
    assert_eq!(network::neighbours(&[other], &[silent]), []);
}

#[test]
fn routes_ports_and_collectors() {
    let config = kernel_path();
    let receiver = &config.receivers[0];
    let destination = &receiver.destinations[0];
    let address = "10.0.0.1:1500".parse().unwrap();
    let route = |outcome: fn() -> io::Result<std::net::SocketAddr>| {
        network::route(destination, Ok(&address), |_| outcome())
    };
    assert_eq!(route(|| Ok("10.0.0.7:0".parse().unwrap())).verdict, Verdict::Ok);
    let unreachable = route(|| Err(io::ErrorKind::NetworkUnreachable.into()));
    assert_eq!(unreachable.verdict, Verdict::Fail);
    let unknown = network::route(destination, Err("no such name".to_owned()), |_| unreachable!());
    assert!(unknown.found.contains("no such name"), "{unknown}");
    assert_eq!(network::port(receiver, Ok(())).verdict, Verdict::Ok);
    let taken = network::port(receiver, Err("in use".to_owned()));
    assert!(taken.advice.as_ref().unwrap().contains("514"), "{taken}");
    assert_eq!(taken.verdict, Verdict::Fail);
    let refused = network::collector(destination, Err(io::ErrorKind::ConnectionRefused.into()));
    assert_eq!(refused.verdict, Verdict::Warn);
}

#[cfg(feature = "kernel")]
#[test]
fn interfaces_say_where_programs_run() {
    use crate::route::{Interface, XdpFeatures};
    let interface = |kind: Option<&str>, mac, xdp| {
        network::interface(&Interface {
            index: 2,
            name: "eth0".to_owned(),
            mac,
            mtu: 1500,
            up: true,
            kind: kind.map(str::to_owned),
            lower: None,
            addresses: Vec::new(),
            xdp,
        })
    };
    let mac = Some([2; 6]);
    let native = XdpFeatures { native: true, redirect: true, transmit: true };
    assert_eq!(interface(Some("loopback"), None, None), None);
    assert_eq!(interface(None, mac, Some(native)).unwrap().verdict, Verdict::Ok);
    assert_eq!(interface(None, mac, Some(XdpFeatures::default())).unwrap().verdict, Verdict::Warn);
    assert_eq!(interface(None, None, Some(native)).unwrap().verdict, Verdict::Warn);
    assert_eq!(interface(None, mac, None).unwrap().verdict, Verdict::Ok);
}

#[test]
fn a_disk_is_judged_by_what_is_left() {
    let room = Room { bytes: 500 << 30, of: 1000 << 30, files: 1, writable: true };
    let check = |room| disk::check(Path::new("/data"), Ok(room)).verdict;
    assert_eq!(check(room), Verdict::Ok);
    assert_eq!(check(Room { bytes: 40 << 30, ..room }), Verdict::Warn);
    assert_eq!(check(Room { bytes: 1 << 20, ..room }), Verdict::Fail);
    assert_eq!(check(Room { files: 0, ..room }), Verdict::Fail);
    assert_eq!(check(Room { writable: false, ..room }), Verdict::Fail);
    let gone = disk::check(Path::new("/data"), Err(io::ErrorKind::NotFound.into()));
    assert_eq!(gone.verdict, Verdict::Fail);
}

#[test]
fn a_finding_says_what_to_do_on_a_line_of_its_own() {
    let text = Finding::fail(Check::Disk, "/data: 1 MiB free", "Make room.").to_string();
    assert_eq!(text, "FAIL  disk: /data: 1 MiB free\n      Make room.");
    assert_eq!(
        Finding::ok(Check::Clock, "kept by chronyd").to_string(),
        "ok    clock: kept by chronyd"
    );
}
