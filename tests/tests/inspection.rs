//! What `ipfix-balancer load` puts into the kernel, seen with `bpftool`: it is what docs/bpf-maps.md
//! says, a daemon takes it over, and nothing of it stays after `stop --purge`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::{Collector, Protocol::Udp};
use ipfix_balancer_tests::daemon::{self, Mode, Outcome, Receiver, outcome};
use ipfix_balancer_tests::exporter::{Flows, UdpExporter};
use ipfix_balancer_tests::lab::{Family::V4, Lab, available, available_with_trace_points};
use ipfix_balancer_tests::net::free_address;
use ipfix_balancer_tests::poll;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A receiver with two collectors in a lab, and a configuration file; no daemon.
struct Scene {
    lab: Lab,
    receiver: Receiver,
    _collectors: Vec<Collector>,
    folder: tempfile::TempDir,
}

/// Links by name, each with the id of its own and its program's.
type Links = BTreeMap<String, (u64, u64)>;

/// A daemon that ends with its guard.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        drop(self.0.wait());
    }
}

impl Scene {
    fn new(mode: Mode) -> Result<Self> {
        let lab = Lab::new(2)?;
        let start = |site: &ipfix_balancer_tests::lab::Site| {
            site.run(|| Collector::start(Udp, site.ip(V4)))
        };
        let collectors = lab.collectors().iter().map(start).collect::<Result<Vec<_>>>()?;
        let address = lab.balancer().run(|| free_address(lab.balancer_ip(V4)))?;
        let receiver = Receiver::new(mode, Udp, address).to(&collectors);
        let folder = tempfile::tempdir()?;
        let scene = Self { lab, receiver, _collectors: collectors, folder };
        scene.configure("auto")?;
        Ok(scene)
    }

    fn configure(&self, accel: &str) -> Result<()> {
        let receiver = self.receiver.clone().set("ACCEL", accel);
        Ok(fs::write(self.config(), daemon::render(&[receiver]))?)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("balancer.env")
    }

    /// Runs `ipfix-balancer` where the balancer is.
    fn balancer(&self, arguments: &[&str]) -> Result<Outcome> {
        self.lab.balancer().run(|| daemon::command(arguments, &self.config()))
    }

    /// `load`, and where it says that the pins are.
    fn load(&self) -> Result<(String, PathBuf)> {
        let Outcome { code, stdout, stderr } = self.balancer(&["load"])?;
        ensure!(code == 0, "load: {code}: {stderr}");
        let pins = stdout.lines().find_map(|line| line.strip_prefix("pins: "));
        let pins = PathBuf::from(pins.with_context(|| stdout.clone())?);
        Ok((stdout, pins))
    }

    fn run(&self) -> Result<Running> {
        let mut command = Command::new(daemon::binary()?);
        command.args(["run", "--config"]).arg(self.config());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = self.lab.balancer().run(|| Ok(Running(command.spawn()?)))?;
        poll::wait("the daemon answers", || {
            self.balancer(&["status"]).is_ok_and(|outcome| outcome.code == 0)
        })?;
        Ok(running)
    }

    fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.balancer(&["status", "--json"])?.stdout)?)
    }

    /// Sends a session until the kernel has forwarded some of it. It can go on.
    fn export(&self) -> Result<(UdpExporter, Flows)> {
        let exporter = self.lab.exporter().run(|| UdpExporter::connect(self.receiver.address()))?;
        let mut flows = Flows::new(7);
        exporter.send(&flows.templates())?;
        poll::wait("the kernel forwards", || {
            let status = self.status().unwrap_or_default();
            let forwarded = status.pointer("/receivers/0/kernel_messages").and_then(Value::as_u64);
            exporter.send(&flows.data(1)).is_ok() && forwarded > Some(1)
        })?;
        Ok((exporter, flows))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(self.balancer(&["stop", "--purge"]));
    }
}

/// What `bpftool` says, as JSON.
fn bpftool(arguments: &str) -> Result<Value> {
    let Outcome { code, stdout, stderr } =
        outcome(Command::new("bpftool").arg("-j").args(arguments.split_whitespace()))
            .context("is it installed? run `cargo xtask setup`")?;
    ensure!(code == 0, "bpftool {arguments}: {stdout}{stderr}");
    serde_json::from_str(&stdout).with_context(|| format!("bpftool {arguments}: {stdout}"))
}

fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or(0)
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Each pinned link's id and program.
fn links(pins: &Path) -> Result<Links> {
    let folder = pins.join("links");
    let named = names(&folder)?.into_iter().map(|name| {
        let link = bpftool(&format!("link show pinned {}", folder.join(&name).display()))?;
        Ok((name, (number(&link, "id"), number(&link, "prog_id"))))
    });
    named.collect()
}

fn maps(pins: &Path) -> Result<Vec<String>> {
    Ok(names(pins)?.into_iter().filter(|name| name != "links").collect())
}

/// docs/bpf-maps.md.
fn document() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bpf-maps.md");
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// What a cell begins with in backticks.
fn quoted(cell: &str) -> Option<&str> {
    Some(cell.trim().strip_prefix('`')?.split_once('`')?.0)
}

/// The documented names in the table below a heading: what stands in backticks in a column.
fn documented(heading: &str, column: usize) -> Result<Vec<String>> {
    let document = document()?;
    let below = document.lines().skip_while(|line| *line != heading).skip(1);
    let section = below.take_while(|line| !line.starts_with('#'));
    let cells = section.filter_map(|line| line.strip_prefix('|')?.split('|').nth(column));
    Ok(cells.filter_map(quoted).map(str::to_owned).collect())
}

/// The documented fields of a struct.
fn fields(name: &str) -> Result<BTreeSet<String>> {
    let mut fields: BTreeSet<_> = documented(&format!("### `{name}`"), 1)?.into_iter().collect();
    if name == "ReceiverCounters" {
        fields.extend(documented("## Why a datagram is passed up", 1)?);
    }
    Ok(fields)
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

/// A number, or the documented fields of the type that a cell of the maps' table names.
fn check_fields(value: &Value, cell: &str) -> Result<()> {
    let Some(name) = quoted(cell).filter(|name| !["u32", "u64"].contains(name)) else {
        ensure!(value.is_number(), "{cell}: {value}");
        return Ok(());
    };
    let fields = fields(name)?;
    ensure!(!fields.is_empty() && keys(value) == fields, "{name}: {value}");
    Ok(())
}

/// Every map's dump names the fields that the document has.
fn check_dumps(pins: &Path) -> Result<()> {
    let document = document()?;
    for map in maps(pins)? {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{map}` |")));
        let cells: Vec<&str> = row.context("not documented")?.split('|').map(str::trim).collect();
        let [key, value] = [3, 4].map(|column| cells.get(column).copied().unwrap_or_default());
        let dump = bpftool(&format!("map dump pinned {}", pins.join(&map).display()))?;
        let entries = dump.as_array().with_context(|| format!("{map}: {dump}"))?;
        ensure!(!entries.is_empty(), "{map} is empty");
        // Kinds of the kernel's own have no fields.
        for entry in
            entries.iter().filter(|_| !["BROADCASTS", "CPUS", "DEVICES"].contains(&map.as_str()))
        {
            let entry = entry.get("formatted").with_context(|| format!("{map}: {entry}"))?;
            check_fields(entry.get("key").context("no key")?, key).context(map.clone())?;
            let cpus = entry.get("values").and_then(Value::as_array).into_iter().flatten();
            let values = cpus.filter_map(|cpu| cpu.get("value")).chain(entry.get("value"));
            for it in values {
                check_fields(it, value).context(map.clone())?;
            }
        }
    }
    Ok(())
}

/// The commands of the document's example do.
fn check_example(pins: &Path) -> Result<()> {
    let document = document()?;
    let blocks = document.split("```sh\n").skip(1).filter_map(|block| block.split_once("```"));
    for command in blocks.flat_map(|(block, _)| block.lines()) {
        if command.starts_with("PINS=") {
            continue;
        }
        let done = outcome(Command::new("sh").args(["-c", command]).env("PINS", pins))?;
        ensure!(done.code == 0, "{command}: {}{}", done.stdout, done.stderr);
    }
    Ok(())
}

/// `load` has told the truth about links and maps.
fn check_load(said: &str, pins: &Path, loaded: &Links, exp: u32) -> Result<()> {
    let xdp = format!("xdp-{exp}");
    ensure!(said.contains("FULLFLOW[0]: kernel (xdp on exp; lo on lo)"), "{said}");
    let mut names = documented("## Maps", 0)?;
    names.sort();
    ensure!(maps(pins)? == names && said.contains(&names.join(", ")), "{said}");
    ensure!(loaded.keys().collect::<Vec<_>>() == ["lo-1", &xdp], "{loaded:?}");
    for (link, (_, program)) in loaded {
        let (name, interface) =
            if *link == xdp { ("ipfix_xdp", "exp") } else { ("ipfix_tc", "lo") };
        let line = format!("links/{link}: {name} (id {program}) on {interface}");
        ensure!(said.contains(&line), "{said}");
        let shown = bpftool(&format!("prog show id {program}"))?;
        ensure!(shown.get("name").is_some_and(|shown| shown == name), "{shown}");
    }
    Ok(())
}

/// The links are the same, and have other programs.
fn check_takeover(loaded: &Links, taken: &Links) -> Result<()> {
    ensure!(taken.len() == loaded.len(), "{taken:?}");
    for ((name, (link, program)), (_, (before, old))) in taken.iter().zip(loaded) {
        ensure!(link == before, "{name} was detached in between");
        ensure!(program != old, "{name} has the program of the one before");
    }
    Ok(())
}

fn map_id(pins: &Path, map: &str) -> Result<u64> {
    let shown = bpftool(&format!("map show pinned {}", pins.join(map).display()))?;
    Ok(number(&shown, "id"))
}

/// The kernel frees what nobody holds a moment later.
fn wait_until_gone(what: &str) -> Result<()> {
    poll::wait(&format!("gone: {what}"), || bpftool(what).is_err())
}

#[test]
fn maps_dump_as_documented_and_a_daemon_takes_over_what_was_loaded() {
    if !available_with_trace_points() {
        return;
    }
    // All: also the maps of copies have something.
    let scene = Scene::new(Mode::All).unwrap();
    let (said, pins) = scene.load().unwrap();
    let loaded = links(&pins).unwrap();
    let exp = scene.lab.exporter().peer.index().unwrap();
    check_load(&said, &pins, &loaded, exp).unwrap();
    let sessions = map_id(&pins, "SESSIONS").unwrap();

    let running = scene.run().unwrap();
    let taken = links(&pins).unwrap();
    check_takeover(&loaded, &taken).unwrap();
    assert_eq!(map_id(&pins, "SESSIONS").unwrap(), sessions);
    assert_eq!(scene.status().unwrap()["pins"], pins.display().to_string());

    scene.export().unwrap();
    check_dumps(&pins).unwrap();
    check_example(&pins).unwrap();

    drop(running);
    assert_eq!(links(&pins).unwrap(), taken, "they stay without a daemon");
    let purged = scene.balancer(&["stop", "--purge"]).unwrap();
    assert_eq!(purged.code, 0, "{}", purged.stderr);
    assert!(!pins.exists());
    for (link, program) in taken.values() {
        wait_until_gone(&format!("link show id {link}")).unwrap();
        wait_until_gone(&format!("prog show id {program}")).unwrap();
    }
    wait_until_gone(&format!("map show id {sessions}")).unwrap();
}

#[test]
fn a_daemon_that_may_not_use_the_kernel_path_takes_away_what_one_before_left() {
    if !available() {
        return;
    }
    let scene = Scene::new(Mode::RoundRobin).unwrap();
    let running = scene.run().unwrap();
    let (exporter, mut flows) = scene.export().unwrap();
    drop(running);
    scene.configure("off").unwrap();
    let _running = scene.run().unwrap();
    assert_eq!(scene.status().unwrap()["pins"], Value::Null);
    // The kernel detaches a program a moment after its link is gone.
    poll::wait("the session's messages come to the daemon", || {
        exporter.send(&flows.data(1)).unwrap();
        let status = scene.status().unwrap_or_default();
        status.pointer("/receivers/0/messages").and_then(Value::as_u64) > Some(0)
    })
    .unwrap();
    let loaded = scene.balancer(&["load"]).unwrap();
    assert_eq!(loaded.code, 1, "{}", loaded.stdout);
    assert!(loaded.stderr.contains("a daemon is running"), "{}", loaded.stderr);
}

#[test]
fn load_says_what_is_served_in_userspace_and_leaves_nothing_then() {
    if !available() {
        return;
    }
    let scene = Scene::new(Mode::RoundRobin).unwrap();
    let (_, pins) = scene.load().unwrap();
    assert!(pins.exists());
    scene.configure("off").unwrap();
    let outcome = scene.balancer(&["load"]).unwrap();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let said = "FULLFLOW[0]: userspace (ACCEL is off)\nnothing is in the kernel\n";
    assert_eq!(outcome.stdout, said);
    assert!(!pins.exists());
}
