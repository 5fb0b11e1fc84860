//! What the daemon may do after its start, and that it still can do its work.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::{Tcp, Udp};
use ipfix_balancer_tests::daemon::{Daemon, Mode, Outcome, Receiver, binary, outcome, render};
use ipfix_balancer_tests::exporter::{Flows, TcpExporter};
use ipfix_balancer_tests::lab::available;
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;

const NOBODY: u32 = 65_534;
const CHOWN: u64 = 1 << 0;
const DAC_OVERRIDE: u64 = 1 << 1;
const FOWNER: u64 = 1 << 3;
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// The fields of a `status` file in `/proc`.
fn fields(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    Ok(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

/// Whether a thread or process may do just this, its children just that, and nobody ever more.
fn may_do(file: &Path, own: u64, children: u64) -> Result<()> {
    let fields = fields(file)?;
    let set = |name: &str| -> Result<u64> {
        Ok(u64::from_str_radix(fields.get(name).context("no such field")?, 16)?)
    };
    for (name, wanted) in
        [("CapPrm", own), ("CapEff", own), ("CapBnd", children), ("CapInh", 0), ("CapAmb", 0)]
    {
        ensure!(
            set(name)? == wanted,
            "{}: {name} is {:x}, not {wanted:x}",
            file.display(),
            set(name)?
        );
    }
    ensure!(fields.get("NoNewPrivs").is_some_and(|value| value == "1"), "new privileges");
    Ok(())
}

/// [`may_do`] for each thread of a daemon.
fn all_may_do(daemon: &Daemon, own: u64, children: u64) -> Result<()> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid()))?;
    let tasks: Vec<_> = tasks.collect::<Result<_, _>>()?;
    ensure!(tasks.len() > 1, "it has one thread");
    tasks.iter().try_for_each(|task| may_do(&task.path().join("status"), own, children))
}

#[test]
fn what_no_receiver_needs_is_given_up() {
    if !available() {
        return;
    }
    let collectors = Collector::several(1, Tcp, V4).unwrap();
    let tcp = Receiver::new(Mode::All, Tcp, free_address(V4).unwrap()).to(&collectors);
    let daemon = Daemon::start(&[tcp]).unwrap();
    all_may_do(&daemon, NET_BIND_SERVICE | DAC_OVERRIDE, DAC_OVERRIDE).unwrap();

    let collectors = Collector::several(1, Udp, V4).unwrap();
    let udp = Receiver::new(Mode::All, Udp, free_address(V4).unwrap()).to(&collectors);
    let daemon = Daemon::start(std::slice::from_ref(&udp)).unwrap();
    let kernel = BPF | NET_ADMIN | PERFMON;
    all_may_do(&daemon, NET_BIND_SERVICE | DAC_OVERRIDE | kernel, DAC_OVERRIDE).unwrap();
    drop(daemon);
    let daemon = Daemon::start(&[udp.set("ACCEL", "off")]).unwrap();
    all_may_do(&daemon, NET_BIND_SERVICE | DAC_OVERRIDE | NET_ADMIN, DAC_OVERRIDE).unwrap();
}

/// Recording into somebody else's directory, with a command that gives the file away, and then runs as
/// its new owner.
#[test]
fn recording_for_another_user_goes_on_working() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let (seen, copy) = (folder.path().join("seen"), folder.path().join("copy"));
    let script = folder.path().join("load");
    let text = format!(
        "#!/bin/sh -e\ncat /proc/self/status > {seen}\nchown {NOBODY} \"$1\"\n\
         setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups cp \"$1\" {copy}\n",
        seen = seen.display(),
        copy = copy.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let receiver = Receiver::recording(Tcp, free_address(V4).unwrap(), folder.path())
        .set("ROTATE_COMMAND", script.display());
    let daemon = Daemon::start(std::slice::from_ref(&receiver)).unwrap();
    let commands = DAC_OVERRIDE | CHOWN | FOWNER | SETGID | SETUID;
    all_may_do(&daemon, commands | NET_BIND_SERVICE, commands).unwrap();

    let mut exporter = TcpExporter::connect(receiver.address()).unwrap();
    exporter.send_all(&Flows::new(1).session(5, 2)).unwrap();
    daemon
        .wait_for(&receiver.name(), "all is recorded", |now| now.recorded("messages") == 6)
        .unwrap();
    assert_eq!(daemon.command(&["rotate"]).unwrap().code, 0);
    poll::wait("the command has run", || fs::metadata(&copy).is_ok_and(|copy| copy.len() > 0))
        .unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().uid(), NOBODY);
    may_do(&seen, commands, commands).unwrap();
}

/// A port that takes a privilege comes by a reload; the kernel path does not, and the log says why.
#[test]
fn a_reload_has_what_it_needs_or_says_what_it_lacks() {
    if !available() {
        return;
    }
    let collectors = Collector::several(1, Tcp, V4).unwrap();
    let first = Receiver::new(Mode::All, Tcp, free_address(V4).unwrap()).to(&collectors);
    let daemon = Daemon::start(std::slice::from_ref(&first)).unwrap();
    let low = Receiver::new(Mode::All, Tcp, ([127, 0, 0, 77], 987).into()).named("DNSFLOW", 0);
    daemon.edit(&[first.clone(), low.clone().to(&collectors)]).unwrap();
    let outcome = daemon.reload().unwrap();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let messages = Flows::new(1).session(3, 1);
    TcpExporter::connect(low.address()).unwrap().send_all(&messages).unwrap();
    collectors[0].wait_for(messages.len()).unwrap();

    let udp = Collector::several(1, Udp, V4).unwrap();
    let udp =
        Receiver::new(Mode::All, Udp, free_address(V4).unwrap()).named("CLICKSTREAM", 0).to(&udp);
    daemon.edit(&[first.clone(), udp.clone()]).unwrap();
    assert_eq!(daemon.reload().unwrap().code, 0);
    daemon.wait_for_log(&["CAP_BPF", "the kernel path", "restart"]).unwrap();
    let status = daemon.status().unwrap().receiver(&udp.name()).unwrap();
    assert_eq!(status.path(), "userspace");
    assert!(status.path_reason().contains("CAP_BPF"), "{}", status.path_reason());
}

/// `status`, run by another program: `setpriv` with its arguments.
fn status_by(daemon: &Daemon, runner: &[&str]) -> Result<Outcome> {
    let (program, arguments) = runner.split_first().context("no program")?;
    let mut command = Command::new(program);
    command.args(arguments).arg(binary()?).arg("status").arg("--config").arg(daemon.config());
    outcome(&mut command)
}

#[test]
fn the_control_socket_is_for_root_and_one_group() {
    if !available() {
        return;
    }
    let collectors = Collector::several(1, Tcp, V4).unwrap();
    let receiver = Receiver::new(Mode::All, Tcp, free_address(V4).unwrap()).to(&collectors);
    // Each Debian and each RPM distribution has this group, as 1 or 2.
    let group = nix::unistd::Group::from_name("daemon").unwrap().unwrap().gid;
    let text = format!("{}IPFIX_CONTROL_GROUP=daemon\n", render(std::slice::from_ref(&receiver)));
    let daemon = Daemon::start_with(&text).unwrap();
    let (uid, regid) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    let (as_group, beside) = (format!("--regid={group}"), format!("--groups={group}"));
    let member = ["setpriv", &uid, &as_group, "--clear-groups"];
    let supplementary = ["setpriv", &uid, &regid, &beside];
    let stranger = ["setpriv", &uid, &regid, "--clear-groups"];
    for runner in [member, supplementary] {
        let outcome = status_by(&daemon, &runner).unwrap();
        assert_eq!(outcome.code, 0, "{runner:?}: {}", outcome.stderr);
    }
    let refused = status_by(&daemon, &stranger).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("IPFIX_CONTROL_GROUP"), "{}", refused.stderr);

    // Who comes through all the same, by a mode that somebody has changed, is told to go.
    let socket = socket_of(group.as_raw()).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = status_by(&daemon, &stranger).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("only root and the group daemon"), "{}", refused.stderr);
    daemon.wait_for_log(&["refused", "65534"]).unwrap();

    let text = format!("{}IPFIX_CONTROL_GROUP=no-such-group\n", render(&[receiver]));
    let error = format!("{:#}", Daemon::start_with(&text).unwrap_err());
    assert!(error.contains("no group no-such-group"), "{error}");
}

/// The control socket that a group has, with the mode it is to have.
fn socket_of(group: u32) -> Result<std::path::PathBuf> {
    for entry in fs::read_dir("/run/ipfix-balancer")? {
        let entry = entry?;
        let data = entry.metadata()?;
        if data.gid() == group {
            let mode = data.mode() & 0o777;
            ensure!((data.uid(), mode) == (0, 0o660), "{} {mode:o}", data.uid());
            return Ok(entry.path());
        }
    }
    anyhow::bail!("no control socket of group {group}")
}
