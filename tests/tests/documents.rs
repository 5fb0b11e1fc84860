//! Every command that README and documents show does what it is there for, in a scratch folder. Those
//! that take an installed package are run with its tests (`cargo xtask`).

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::{Tcp, Udp};
use ipfix_balancer_tests::daemon::{self, Mode, Receiver, outcome, outcome_of};
use ipfix_balancer_tests::documents::{Place, Shown, commands};
use ipfix_balancer_tests::exporter::{Flows, UdpExporter};
use ipfix_balancer_tests::lab::available;
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where documents have the web interface.
const INTERFACE: &str = "127.0.0.1:8080";
/// What stands in the place of passwords there is `...`.
const PASSWORD: &str = "correct horse battery staple";

/// Runs `$3` in the folder `$1`, whose `my.env` is also where a package has it. `$2` is the folder of the
/// program.
const PLACE: &str = "
    mount -t tmpfs tmpfs /var
    mkdir -p /var/tmp /var/fast_ipfix_balancer/backend /var/fast_ipfix_balancer/dump
    ln -s \"$1/my.env\" /var/fast_ipfix_balancer/backend/.env
    cd \"$1\"
    export PATH=\"$2:$PATH\"
    if [ -f pins ]; then export PINS=$(cat pins); fi
    exec timeout 60 bash -eo pipefail -c \"$3\"";

/// What a command is to a daemon that runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Becomes the daemon, in the place of one that runs.
    Daemon,
    /// Asks it.
    Client,
    /// Ends it.
    End,
    /// Serves the web interface, beside it.
    Interface,
    /// None.
    Other,
}

fn part(command: &str) -> Part {
    match command.split_whitespace().nth(1).unwrap_or_default() {
        "run" | "restart" => Part::Daemon,
        "status" | "top" | "reload" | "rotate" | "log-level" | "doctor" => Part::Client,
        "stop" => Part::End,
        "ui" => Part::Interface,
        // What is in the kernel, its threads, and what the web interface says of it.
        _ if !command.starts_with("ipfix-balancer") => Part::Client,
        _ => Part::Other,
    }
}

/// A folder with all that the commands of one document name.
struct Scratch {
    folder: tempfile::TempDir,
    daemon: Option<Child>,
    interface: Option<Child>,
    /// Where the web interface is served, instead of [`INTERFACE`].
    interface_at: SocketAddr,
    udp: Receiver,
    _collectors: [Vec<Collector>; 2],
}

impl Scratch {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = folder.path();
        let collectors = [Collector::several(2, Tcp, V4)?, Collector::several(2, Udp, V4)?];
        let [tcp, udp] = &collectors;
        let receivers = [
            Receiver::new(Mode::RoundRobin, Tcp, free_address(V4)?).to(tcp),
            Receiver::recording(Tcp, free_address(V4)?, &at.join("records"))
                .named("CLICKSTREAM", 0),
            Receiver::new(Mode::All, Udp, free_address(V4)?).to(udp).named("DNSFLOW", 0),
        ];
        let accounts = format!("IPFIX_UI_DIR={}\n", at.join("ui").display());
        fs::write(at.join("my.env"), daemon::render(&receivers) + &accounts)?;
        write_files(at)?;
        let [_, _, udp] = receivers;
        let interface_at = free_address(V4)?;
        let (daemon, interface) = (None, None);
        Ok(Self { folder, daemon, interface, interface_at, udp, _collectors: collectors })
    }

    fn command(&self, text: &str) -> Result<Command> {
        let programs: PathBuf = daemon::binary()?.parent().context("nowhere")?.into();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", PLACE, "place"]).arg(self.folder.path());
        let text = text.replace(INTERFACE, &self.interface_at.to_string());
        command.arg(programs).arg(text.replace("\"...\"", &format!("\"{PASSWORD}\"")));
        // Nothing else reads.
        command.stdin(File::open(self.folder.path().join("password"))?);
        Ok(command)
    }

    fn run(&mut self, text: &str) -> Result<()> {
        match part(text) {
            Part::Daemon => return self.become_daemon(text),
            Part::Interface => return self.serve_interface(text),
            Part::Client if self.daemon.is_none() => self.become_daemon("ipfix-balancer run")?,
            Part::Client | Part::End | Part::Other => {}
        }
        if text.contains(" top") {
            return self.run_in_a_terminal(text);
        }
        let said = outcome_of(&mut self.command(text)?)?;
        // What it finds wrong with this machine is right.
        let found = said.code == 1 && text.contains(" doctor") && said.stdout.contains("FAIL");
        ensure!(said.code == 0 || found, "exit code {}\n{}{}", said.code, said.stdout, said.stderr);
        if part(text) == Part::End {
            self.ends()?;
        }
        Ok(())
    }

    /// Runs a daemon from now on, and waits until it answers and the one before has ended.
    fn become_daemon(&mut self, text: &str) -> Result<()> {
        let log = File::create(self.folder.path().join("log"))?;
        let mut command = self.command(&format!("exec {text}"))?;
        let next = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let before = self.daemon.replace(next);
        if let Some(mut before) = before {
            poll::wait("the daemon before ended", || matches!(before.try_wait(), Ok(Some(_))))?;
        }
        poll::until_ok(|| {
            let said =
                outcome(&mut self.command("ipfix-balancer status --json | jq -r .pins >pins")?)?;
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            ensure!(said.code == 0, "{}\n{}", said.stderr, log());
            Ok(())
        })?;
        // A session, for what is shown of the kernel path.
        let exporter = UdpExporter::connect(self.udp.address())?;
        let mut flows = Flows::new(1);
        exporter.send(&flows.templates())?;
        exporter.send(&flows.data(3))
    }

    /// Serves the web interface from now on, and waits until it is there.
    fn serve_interface(&mut self, text: &str) -> Result<()> {
        let mut command = self.command(&format!("exec {text} --listen {INTERFACE}"))?;
        self.interface = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        poll::wait("the web interface is served", || TcpStream::connect(self.interface_at).is_ok())
    }

    /// With a person who watches for a moment.
    fn run_in_a_terminal(&self, text: &str) -> Result<()> {
        let mut command = self.command(&format!(
            "script --quiet --return --flush --command 'stty cols 160 rows 40; {text}' screen"
        ))?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut keyboard = child.stdin.take().context("no keyboard")?;
        let screen = self.folder.path().join("screen");
        poll::wait("a screen with a receiver", || {
            fs::read(&screen).is_ok_and(|it| String::from_utf8_lossy(&it).contains("FULLFLOW[0]"))
        })?;
        keyboard.write_all(b"q")?;
        let status = child.wait()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }

    fn ends(&mut self) -> Result<()> {
        let mut child = self.daemon.take().context("no daemon")?;
        poll::wait("the daemon ended", || matches!(child.try_wait(), Ok(Some(_))))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing stays in the kernel, whatever has failed.
        drop(self.command("ipfix-balancer stop --purge").and_then(|mut it| outcome(&mut it)));
        if let Some(mut child) = self.daemon.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if let Some(mut child) = self.interface.take() {
            // It is `timeout`, which passes this on.
            if let Ok(pid) = child.id().try_into() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            drop(child.wait());
        }
    }
}

fn write_files(folder: &Path) -> Result<()> {
    let mut flows = Flows::new(1);
    let messages = [flows.templates(), flows.data(3)].concat();
    fs::write(folder.join("dump.ipfix"), &messages)?;
    fs::write(folder.join("password"), PASSWORD)?;
    fs::create_dir(folder.join("dump"))?;
    fs::write(folder.join("dump/1.ipfix.zst"), zstd::encode_all(messages.as_slice(), 1)?)?;
    let capture = include_bytes!("../corpus/netgauze/srv6__srv6.pcap");
    for name in ["my.pcap", "capture.pcap"] {
        fs::write(folder.join(name), capture)?;
    }
    fs::write(folder.join("startup.xml"), include_str!("import/ipfixcol2-forwarder.xml"))?;
    let tee = "plugins: tee[a]\ntee_receivers[a]: receivers.lst\nnfacctd_port: 2055\n";
    fs::write(folder.join("nfacctd.conf"), tee)?;
    fs::write(folder.join("receivers.lst"), "id=1 ip=192.0.2.1:4739\n")?;
    fs::write(folder.join("samplicator.conf"), "192.0.2.7: 192.0.2.1/4739\n")?;
    Ok(())
}

#[test]
fn every_command_that_is_shown_works() {
    if !available() {
        return;
    }
    let all = commands().unwrap();
    for document in all.chunk_by(|a, b| a.document == b.document) {
        in_scratch(document).unwrap();
    }
}

fn in_scratch(document: &[Shown]) -> Result<()> {
    let mut scratch = Scratch::new()?;
    for shown in document.iter().filter(|shown| shown.place() == Some(Place::Scratch)) {
        let at = || format!("{}: {}", shown.document.display(), shown.command);
        scratch.run(&shown.command).with_context(at)?;
    }
    Ok(())
}
