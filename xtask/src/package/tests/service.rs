//! The unit, judged by `systemd-analyze`, and run by a systemd of its own.

use std::fs;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::Udp;
use ipfix_balancer_tests::daemon::{self, Frozen, Mode, Receiver, outcome};
use ipfix_balancer_tests::documents::{Place, commands};
use ipfix_balancer_tests::exporter::{Flows, UdpExporter};
use ipfix_balancer_tests::lab::{Family, Lab, Site, available};
use ipfix_balancer_tests::net::free_address;
use ipfix_balancer_tests::poll;
use serde_json::Value;

use super::root::Root;
use super::system::System;
use super::{deb, packages};
use crate::package::contents::CONFIG;
use crate::workspace;

const UNIT: &str = "/usr/lib/systemd/system/ipfix-balancer.service";
const SERVICE: &str = "ipfix-balancer.service";
/// Sent by an exporter: more than a session's first ones, which the daemon handles.
const MESSAGES: usize = 50;
/// The exit code of `timeout`.
const TIMED_OUT: i32 = 124;
/// What systemd may say of its exposure, times ten.
const EXPOSURE: &str = "--threshold=25";

fn installed() -> Result<Root> {
    let [package, _] = &packages()?.deb;
    let root = Root::new()?;
    deb::install(&root, package)?;
    Ok(root)
}

/// What `systemd-analyze` says of the unit.
fn analyze(root: &Root, words: &[&str]) -> Result<String> {
    let said = outcome(root.command(&["systemd-analyze"]).args(words).arg(UNIT))?;
    ensure!(said.code == 0 && said.stderr.is_empty(), "{}{}", said.stdout, said.stderr);
    Ok(said.stdout)
}

#[test]
fn the_unit_is_clean_and_little_exposed() {
    if available() {
        let root = installed().unwrap();
        analyze(&root, &["verify", "--man=no"]).unwrap();
        let said = analyze(&root, &["security", "--offline=true", EXPOSURE]).unwrap();
        let (_, level) = said.rsplit_once(&format!("{SERVICE}: ")).unwrap();
        let level = level.split_whitespace().next().unwrap();
        let documented = fs::read_to_string(workspace::root().join("docs/operation.md")).unwrap();
        let sentence = format!("`systemd-analyze security ipfix-balancer` says {level},");
        assert!(documented.contains(&sentence), "docs/operation.md lacks: {sentence}");
    }
}

/// The packaged service, with collectors and an exporter in other namespaces.
struct Scene {
    lab: Lab,
    system: System,
    receiver: Receiver,
    collectors: Vec<Collector>,
}

impl Scene {
    fn new() -> Result<Self> {
        let lab = Lab::new(2)?;
        let start = |site: &Site| site.run(|| Collector::start(Udp, site.ip(Family::V4)));
        let collectors: Vec<Collector> =
            lab.collectors().iter().map(start).collect::<Result<_>>()?;
        let listen = lab.balancer().run(|| free_address(lab.balancer_ip(Family::V4)))?;
        let receiver =
            Receiver::new(Mode::All, Udp, listen).to(&collectors).set("ACCEL", "require");
        let system = System::boot(installed()?, lab.balancer())?;
        let scene = Self { lab, system, receiver, collectors };
        scene.configure(&scene.configuration())?;
        Ok(scene)
    }

    /// What is forwarded by the kernel, and a receiver below 1024 that records.
    fn configuration(&self) -> String {
        let recording = "IPFIX_CLICKSTREAM_PORT[0]=999\n";
        daemon::render(std::slice::from_ref(&self.receiver)) + recording
    }

    fn configure(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.system.root.at(CONFIG), text)?)
    }

    fn control(&self, verb: &str) -> Result<()> {
        self.system.run(&["systemctl", verb, SERVICE]).map(drop)
    }

    fn is(&self, state: &str) -> Result<()> {
        let now = self.system.try_run(&["systemctl", "is-active", SERVICE])?.stdout;
        ensure!(now.trim() == state, "it is {}\n{}", now.trim(), self.system.journal()?);
        Ok(())
    }

    fn is_up(&self) -> Result<()> {
        poll::until_ok(|| {
            let status = self.system.try_run(&["ipfix-balancer", "status"])?;
            ensure!(status.code == 0, "{}\n{}", status.stderr, self.system.journal()?);
            self.is("active")
        })
    }

    /// Opens an exporter session and sends templates, then data until the kernel forwards some of it;
    /// every collector gets everything.
    fn forwards(&self) -> Result<()> {
        let exporter = self.lab.exporter().run(|| UdpExporter::connect(self.receiver.address()))?;
        let mut flows = Flows::new(1);
        let forwarded = || self.forwarded_by_the_kernel();
        let before = forwarded()?;
        let mut due: Vec<usize> = self.collectors.iter().map(Collector::messages).collect();
        let mut send = |datagram: Vec<u8>| -> Result<()> {
            exporter.send(&datagram)?;
            due.iter_mut().for_each(|due| *due += 1);
            self.collectors
                .iter()
                .zip(&due)
                .try_for_each(|(collector, due)| collector.wait_for(*due))
        };
        send(flows.templates())?;
        for _ in 0..MESSAGES {
            send(flows.data(3))?;
        }
        ensure!(
            forwarded()? > before,
            "the kernel has forwarded nothing\n{}",
            self.system.journal()?
        );
        Ok(())
    }

    fn forwarded_by_the_kernel(&self) -> Result<u64> {
        let status = self.system.run(&["ipfix-balancer", "status", "--json"])?;
        let status: Value = serde_json::from_str(&status)?;
        let receiver = status.pointer("/receivers/0").context("no receiver")?;
        ensure!(receiver["path"] == "kernel", "{receiver}");
        receiver["kernel_messages"].as_u64().context("no number")
    }

    /// One of the service's properties.
    fn shows(&self, property: &str) -> Result<String> {
        let property = format!("--property={property}");
        let shown = self.system.run(&["systemctl", "show", "--value", &property, SERVICE])?;
        Ok(shown.trim().to_owned())
    }

    /// What `/proc` says of the daemon.
    fn process(&self) -> Result<String> {
        self.system.run(&["cat", &format!("/proc/{}/status", self.shows("MainPID")?)])
    }

    /// Waits until the journal has this.
    fn says(&self, what: &str) -> Result<()> {
        poll::until_ok(|| {
            let journal = self.system.journal()?;
            ensure!(journal.contains(what), "no {what} in:\n{journal}");
            Ok(())
        })
    }

    /// With a handler that stands still systemd starts the daemon anew. The packaged patience would
    /// take too long here.
    fn ends_a_stuck_handler(&self) -> Result<()> {
        let drop_ins = self.system.root.at("etc/systemd/system/ipfix-balancer.service.d");
        fs::create_dir_all(&drop_ins)?;
        fs::write(drop_ins.join("patience.conf"), "[Service]\nWatchdogSec=2\n")?;
        self.system.run(&["systemctl", "daemon-reload"])?;
        self.control("restart")?;
        let frozen = Frozen::thread(self.system.process("ipfix-balancer")?, "ipfix-full-0")?;
        self.says("FULLFLOW[0]: the handler is stuck")?;
        self.says("(ipfix-balancer) with signal SIGABRT")?;
        drop(frozen);
        poll::until_ok(|| {
            ensure!(self.shows("NRestarts")? == "1", "{}", self.system.journal()?);
            Ok(())
        })?;
        fs::remove_dir_all(&drop_ins)?;
        self.system.run(&["systemctl", "daemon-reload"])?;
        self.control("restart")?;
        self.is_up()
    }

    fn pins(&self) -> Result<String> {
        self.system.run(&["find", "/sys/fs/bpf", "-mindepth", "1"])
    }
}

#[test]
fn the_service_does_everything_without_root() {
    if available() {
        goes_through_its_life().unwrap();
    }
}

fn goes_through_its_life() -> Result<()> {
    let scene = Scene::new()?;
    let service = scene.system.root.at("usr/lib/systemd/system/ipfix-balancer.service");
    runs_what_is_shown(&scene)?;
    scene.is_up()?;
    scene.forwards()?;
    has_no_more_than(&scene.process()?, &fs::read_to_string(service)?)?;
    let journal = scene.system.journal()?;
    let ours: Vec<&str> = journal.lines().filter(|line| line.contains("IPFIXcol2")).collect();
    ensure!(ours.iter().any(|line| line.contains("started")), "{journal}");
    ensure!(!journal.contains("are not counted"), "no trace point: {journal}");
    scene.control("reload")?;
    // Anything that the sandbox keeps from the daemon, it would say.
    let complaints = ["journalctl", "--quiet", "--identifier=IPFIXcol2", "--priority=warning"];
    let complaints = scene.system.run(&complaints)?;
    ensure!(complaints.is_empty(), "{complaints}");

    scene.configure("IPFIX_FULLFLOW_BALANCER[0]=Sometimes\n")?;
    ensure!(scene.control("reload").is_err(), "a faulty file was accepted");
    scene.is("active")?;
    scene.configure(&scene.configuration())?;
    scene.control("restart")?;
    scene.is_up()?;
    scene.forwards()?;
    poll::until_ok(|| {
        let told = scene.shows("StatusText")?;
        ensure!(told.starts_with("2 receivers, ") && told.contains(" messages/s in"), "{told}");
        Ok(())
    })?;
    scene.ends_a_stuck_handler()?;
    scene.forwards()?;

    scene.system.run(&["ipfix-balancer-restart"])?;
    scene.is_up()?;
    scene.system.run(&["ipfix-balancer-stop"])?;
    scene.is("inactive")?;
    ensure!(scene.pins()?.contains("links"), "nothing stays in the kernel for the next start");

    scene.control("start")?;
    scene.is_up()?;
    scene.system.run(&["dpkg", "--remove", "fast-ipfix-balancer"])?;
    scene.is("inactive")?;
    let pins = scene.pins()?;
    ensure!(!pins.contains("links"), "what was in the kernel is still there: {pins}");
    Ok(())
}

/// What README and documents show that takes systemd: this starts the service.
fn runs_what_is_shown(scene: &Scene) -> Result<()> {
    let all = commands()?;
    let mut all: Vec<&str> = all
        .iter()
        .filter(|shown| shown.place() == Some(Place::System))
        .map(|shown| shown.command.as_str())
        .collect();
    // Nothing is logged before it has started.
    all.sort_by_key(|command| !command.starts_with("systemctl enable"));
    for command in all {
        let follows = command.ends_with(" -f");
        let limited = if follows { format!("timeout 2 {command}") } else { command.to_owned() };
        let said = scene.system.try_run(&["bash", "-o", "pipefail", "-c", &limited])?;
        ensure!(said.code == if follows { TIMED_OUT } else { 0 }, "{command}: {said:?}");
    }
    Ok(())
}

/// The daemon runs as another user than root, behind a filter, with the unit's capabilities.
fn has_no_more_than(status: &str, unit: &str) -> Result<()> {
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.with_context(|| format!("no {name} in {status}"))
    };
    let user = value("Uid")?.split_whitespace().next().unwrap_or_default();
    ensure!(user != "0" && value("NoNewPrivs")? == "1" && value("Seccomp")? == "2", "{status}");
    let listed = unit.lines().find_map(|line| line.strip_prefix("AmbientCapabilities="));
    let number = |name: &str| match name {
        "CAP_NET_BIND_SERVICE" => Some(10),
        "CAP_NET_ADMIN" => Some(12),
        "CAP_PERFMON" => Some(38),
        "CAP_BPF" => Some(39),
        _ => None,
    };
    let mut set = 0_u64;
    for name in listed.context("no capabilities")?.split_whitespace() {
        set |= 1 << number(name).with_context(|| format!("what is {name}?"))?;
    }
    // The daemon gives up what its receivers do not need.
    for kind in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        ensure!(u64::from_str_radix(value(kind)?, 16)? & !set == 0, "{kind}: {status}");
    }
    Ok(())
}
