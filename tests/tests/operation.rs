//! What an operator relies on around forwarding: threads and CPUs, the form of `status --json`.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::{
    Collector,
    Protocol::{Tcp, Udp},
};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver};
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

/// CPUs that each thread of a process may run on, by the thread's name.
fn threads(pid: u32) -> Result<BTreeMap<String, String>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let name = fs::read_to_string(task.join("comm"))?.trim().to_owned();
        let status = fs::read_to_string(task.join("status"))?;
        let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        threads.insert(name, cpus.context("no list of CPUs")?.trim().to_owned());
    }
    Ok(threads)
}

/// Whether a process has threads of these names on these CPUs.
fn has_threads(pid: u32, wanted: &[(&str, &str)]) -> Result<()> {
    let found = threads(pid)?;
    for (name, cpus) in wanted {
        let there = found.get(*name).with_context(|| format!("no {name} in {found:?}"))?;
        ensure!(there == cpus, "{name} is on {there}, not on {cpus}");
    }
    Ok(())
}

/// The CPUs that a process which nobody pinned may run on.
fn every_cpu() -> Result<String> {
    Ok(fs::read_to_string("/sys/devices/system/cpu/online")?.trim().to_owned())
}

#[test]
fn each_handler_is_a_named_thread_on_its_cpu_also_after_a_reload() {
    let collector = [Collector::start(Tcp, V4).unwrap()];
    let receiver = |stream, index| {
        let receiver = Receiver::new(Mode::All, Tcp, free_address(V4).unwrap());
        receiver.named(stream, index).to(&collector)
    };
    let every = every_cpu().unwrap();
    let last = every.rsplit(['-', ',']).next().unwrap().to_owned();
    let (full, click) = (receiver("FULLFLOW", 0), receiver("CLICKSTREAM", 3));
    let (click, dns) = (click.set("TASKSET", &last), receiver("DNSFLOW", 0));
    let first = [full.clone().set("TASKSET", 0), click.clone(), dns.clone()];
    let daemon = Daemon::start(&first).unwrap();
    // A thread names and pins itself, a moment after the daemon has said that it is there.
    let wanted = [("ipfix-full-0", "0"), ("ipfix-click-3", &last), ("ipfix-dns-0", &every)];
    poll::until_ok(|| has_threads(daemon.pid(), &wanted)).unwrap();

    daemon.edit(&[full.set("TASKSET", &last), click, dns.set("TASKSET", "0")]).unwrap();
    assert_eq!(daemon.reload().unwrap().code, 0);
    has_threads(daemon.pid(), &[("ipfix-full-0", &last), ("ipfix-dns-0", "0")]).unwrap();
}

#[test]
fn status_has_the_documented_form() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/status.schema.json");
    let schema: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let setup = Setup::new(Mode::RoundRobin, Udp, Udp, 2).unwrap();
    setup.udp().unwrap().send(&[0, 9, 0, 0]).unwrap();
    setup.udp().unwrap().send(&Flows::new(1).templates()).unwrap();
    setup.wait_for_drops("netflow_v9", 1).unwrap();
    setup.wait_until_up().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let recording = Receiver::recording(Tcp, free_address(V4).unwrap(), folder.path());
    let recording = Daemon::start(&[recording]).unwrap();
    let mut status = serde_json::Value::Null;
    for daemon in [&recording, &setup.daemon] {
        let output = daemon.command(&["status", "--json"]).unwrap().stdout;
        status = serde_json::from_str(&output).unwrap();
        let faults: Vec<String> =
            validator.iter_errors(&status).map(|fault| fault.to_string()).collect();
        assert_eq!(faults, Vec::<String>::new());
    }
    status["receivers"][0]["messages"] = "many".into();
    assert!(!validator.is_valid(&status), "the schema asks for something");
}
