//! What is in the kernel while nobody should have anything there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::daemon::{Mode, Outcome, outcome};
use ipfix_balancer_tests::lab::available;
use ipfix_balancer_tests::poll;

use super::scene::{Scene, pins};

/// Programs, maps and links of a daemon, as `bpftool` takes them: `prog` and an id.
type Objects = BTreeSet<(&'static str, u32)>;

fn bpftool(arguments: &[&str]) -> Result<Outcome> {
    outcome(Command::new("bpftool").args(arguments))
}

/// What the daemon has open.
fn open_objects(pid: u32) -> Result<Objects> {
    let mut objects = Objects::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Others come and go.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let number = |name: &str| -> Option<u32> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().parse().ok()
        };
        for (kind, name) in [("prog", "prog_id"), ("map", "map_id"), ("link", "link_id")] {
            objects.extend(number(name).map(|id| (kind, id)));
        }
    }
    Ok(objects)
}

/// The links that are pinned.
pub fn pinned_links(pins: &std::path::Path) -> Result<Objects> {
    let mut objects = Objects::new();
    for entry in fs::read_dir(pins.join("links"))? {
        let path = entry?.path();
        let shown = bpftool(&["-j", "link", "show", "pinned", &path.display().to_string()])?;
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout)?;
        let id = shown.get("id").and_then(serde_json::Value::as_u64).context("no id of a link")?;
        objects.insert(("link", u32::try_from(id)?));
    }
    Ok(objects)
}

/// A scene whose kernel path has been in use, with all that it has in the kernel.
struct Loaded {
    scene: Scene,
    feed: super::scene::Feed,
    pins: PathBuf,
    objects: Objects,
}

fn loaded(mode: Mode) -> Result<Loaded> {
    let scene = Scene::new(mode)?;
    let feed = scene.feed(1)?;
    let pins = pins(&scene.setup.daemon);
    let mut objects = open_objects(scene.setup.daemon.pid())?;
    objects.extend(pinned_links(&pins)?);
    for kind in ["prog", "map", "link"] {
        ensure!(objects.iter().any(|(one, _)| *one == kind), "no {kind} in {objects:?}");
    }
    Ok(Loaded { scene, feed, pins, objects })
}

impl Loaded {
    fn purge(&self) -> Result<String> {
        let outcome = self.scene.setup.daemon.command(&["stop", "--purge"])?;
        ensure!(outcome.code == 0, "{}", outcome.stderr);
        Ok(outcome.stdout)
    }

    /// Neither by its id, nor by name, nor at any interface.
    fn nothing_is_left(&self) -> Result<()> {
        poll::until_ok(|| {
            for (kind, id) in &self.objects {
                let shown = bpftool(&[kind, "show", "id", &id.to_string()])?;
                ensure!(shown.code != 0, "{kind} {id} is there: {}", shown.stdout);
            }
            Ok(())
        })?;
        let instance = self.pins.parent().context("no directory")?;
        ensure!(!instance.exists(), "{} is there", instance.display());
        let balancer = self.scene.lab.balancer();
        let links = balancer.ip("-d link show")?;
        ensure!(!links.contains("xdp"), "{links}");
        let tc = balancer.run(|| outcome(Command::new("tc").args(["qdisc", "show"])))?;
        ensure!(tc.code == 0 && !tc.stdout.contains("clsact"), "{}", tc.stdout);
        Ok(())
    }
}

fn a_purge_of_a_running_daemon() -> Result<()> {
    let loaded = loaded(Mode::All)?;
    loaded.purge()?;
    loaded.nothing_is_left()?;
    ensure!(loaded.purge()?.contains("nothing"), "there was something left");
    loaded.nothing_is_left()
}

#[test]
fn a_purge_stops_the_daemon_and_leaves_nothing() {
    if available() {
        a_purge_of_a_running_daemon().unwrap();
    }
}

fn a_purge_after_kill() -> Result<()> {
    let mut loaded = loaded(Mode::RoundRobin)?;
    loaded.scene.kill()?;
    loaded.purge()?;
    loaded.nothing_is_left()?;
    // The next daemon begins with an exporter that it does not know.
    loaded.scene.restart()?;
    loaded.feed.templates()?;
    let from = loaded.feed.sent.len();
    loaded.scene.is_forwarded(&mut loaded.feed)?;
    loaded.scene.is_complete_from(&loaded.feed, from)
}

#[test]
fn a_purge_after_the_daemon_was_killed_leaves_nothing() {
    if available() {
        a_purge_after_kill().unwrap();
    }
}

fn a_plain_stop() -> Result<()> {
    let mut loaded = loaded(Mode::RoundRobin)?;
    let outcome = loaded.scene.setup.daemon.command(&["stop"])?;
    ensure!(outcome.code == 0, "{}", outcome.stderr);
    loaded.scene.daemon().wait_for_exit()?;
    loaded.feed.send(50)?;
    loaded.scene.is_complete(&loaded.feed)?;
    loaded.purge()?;
    loaded.nothing_is_left()
}

#[test]
fn a_plain_stop_leaves_sessions_to_the_kernel_until_a_purge() {
    if available() {
        a_plain_stop().unwrap();
    }
}

/// Maps of another version would not be understood: they go, and with them its programs.
fn another_version() -> Result<()> {
    let mut loaded = loaded(Mode::RoundRobin)?;
    loaded.scene.kill()?;
    let old = loaded.pins.with_file_name("v0");
    fs::rename(&loaded.pins, &old).or_else(|_| fs::create_dir(&old))?;
    let map = old.join("SESSIONS").display().to_string();
    if !old.join("SESSIONS").exists() {
        let shape = ["type", "array", "key", "4", "value", "8", "entries", "1", "name", "old"];
        let made = bpftool(&[&["map", "create", &map], &shape[..]].concat())?;
        ensure!(made.code == 0, "{}", made.stderr);
    }
    loaded.scene.restart()?;
    ensure!(!old.exists(), "{} is there", old.display());
    loaded.feed.templates()?;
    let from = loaded.feed.sent.len();
    loaded.scene.is_forwarded(&mut loaded.feed)?;
    loaded.scene.is_complete_from(&loaded.feed, from)
}

#[test]
fn what_another_version_has_left_is_taken_away() {
    if available() {
        another_version().unwrap();
    }
}
