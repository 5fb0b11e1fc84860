//! Several receivers of one daemon.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::Udp;
use ipfix_balancer_tests::daemon::{Daemon, Mode, Receiver};
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::exporter::{Flows, UdpExporter};
use ipfix_balancer_tests::lab::{Family, Lab, available};
use ipfix_balancer_tests::net::free_address;
use ipfix_balancer_tests::poll;

use crate::scene::{collectors, elements};

const MESSAGES: usize = 200;

/// A receiver of a daemon with several, its exporter, its collectors.
struct Branch {
    mode: Mode,
    receiver: Receiver,
    collectors: Vec<Collector>,
    exporter: UdpExporter,
    flows: Flows,
    sent: Vec<Vec<u8>>,
}

impl Branch {
    fn new(lab: &Lab, mode: Mode, index: usize) -> Result<Self> {
        let sites: Vec<_> = lab.collectors().iter().collect();
        let collectors = collectors(&sites, Family::V4)?;
        let address = lab.balancer().run(|| free_address(lab.balancer_ip(Family::V4)))?;
        let receiver = Receiver::new(mode, Udp, address).named("FULLFLOW", index).to(&collectors);
        let exporter = lab.exporter().run(|| UdpExporter::connect(address))?;
        let receiver = receiver.set("ACCEL", "require");
        Ok(Self { mode, receiver, collectors, exporter, flows: Flows::new(1), sent: Vec::new() })
    }

    fn send(&mut self, message: Vec<u8>) -> Result<()> {
        self.exporter.send(&message)?;
        self.sent.push(message);
        Ok(())
    }

    fn data(&mut self) -> Result<()> {
        let message = self.flows.data(1 + self.sent.len() % 7);
        self.send(message)
    }

    fn arrived(&self) -> Result<()> {
        let sessions: Vec<_> = self.collectors.iter().map(Collector::sessions).collect();
        let sessions: Option<Vec<_>> = sessions.into_iter().map(|mut all| all.pop()).collect();
        let sessions = sessions.context("no session")?;
        match self.mode {
            Mode::All => ensure!(sessions.iter().all(|session| session.messages == self.sent)),
            Mode::RoundRobin => {
                let received: Vec<_> =
                    sessions.iter().map(|session| decode::session(&session.messages)).collect();
                decode::round_robin(&decode::session(&self.sent), &received)?;
            }
        }
        Ok(())
    }
}

fn forwarded(daemon: &Daemon, branches: &[Branch]) -> Result<Vec<u64>> {
    let status = daemon.status()?;
    branches
        .iter()
        .map(|one| Ok(status.receiver(&one.receiver.name())?.kernel_messages()))
        .collect()
}

/// Until all of them are the kernel's.
fn begin(daemon: &Daemon, branches: &mut [Branch]) -> Result<()> {
    for branch in branches.iter_mut() {
        branch.send(branch.flows.templates())?;
        daemon.wait_for(&branch.receiver.name(), "every destination is up", |now| {
            now.all_destinations_are("up")
        })?;
    }
    for _ in 0..100 {
        for branch in branches.iter_mut() {
            branch.data()?;
            poll::until_ok(|| branch.arrived())?;
        }
        if forwarded(daemon, branches)?.iter().all(|count| *count > 0) {
            return Ok(());
        }
    }
    bail!("not all in the kernel: {:?}", forwarded(daemon, branches)?)
}

/// A daemon with a receiver of each of these modes; its sessions are the kernel's.
fn start(lab: &Lab, modes: &[Mode]) -> Result<(Daemon, Vec<Branch>)> {
    let branches = (0..).zip(modes).map(|(index, mode)| Branch::new(lab, *mode, index));
    let mut branches = branches.collect::<Result<Vec<_>>>()?;
    let receivers: Vec<_> = branches.iter().map(|branch| branch.receiver.clone()).collect();
    let daemon = lab.balancer().run(|| Daemon::start(&receivers))?;
    begin(&daemon, &mut branches)?;
    Ok((daemon, branches))
}

/// Two of each mode, with collectors behind the same interfaces, and equal sessions: messages of all of
/// them in turn.
fn interleaved(lab: &Lab) -> Result<()> {
    let modes = [Mode::RoundRobin, Mode::All, Mode::RoundRobin, Mode::All];
    let (daemon, mut branches) = start(lab, &modes)?;
    let before = forwarded(&daemon, &branches)?;
    for _ in 0..MESSAGES / 10 {
        for _ in 0..10 {
            branches.iter_mut().try_for_each(Branch::data)?;
        }
        for branch in &branches {
            poll::until_ok(|| branch.arrived()).context(format!("{}", branch.mode))?;
        }
    }
    for (before, after) in before.iter().zip(forwarded(&daemon, &branches)?) {
        ensure!(after - before > MESSAGES as u64 * 9 / 10, "{before} to {after}");
    }
    Ok(())
}

#[test]
fn receivers_of_both_modes_do_not_mix() {
    if !available() {
        return;
    }
    let lab = Lab::new(3).unwrap();
    interleaved(&lab).unwrap();
}

/// The kernel collects what programs redirect to an interface until the poll is over, whatever program
/// it has to run through then.
#[test]
fn nor_do_their_packets_in_one_poll() {
    if !available() {
        return;
    }
    let lab = Lab::new(3).unwrap();
    lab.exporter().peer.gather(Duration::from_millis(10)).unwrap();
    interleaved(&lab).unwrap();
}

/// For each interface that programs send by, whether all of that goes through another one.
fn devices(daemon: &Daemon) -> Result<Vec<bool>> {
    let places = elements(daemon, "DEVICES")?;
    // The interface's number and the program's; where nothing is, the kernel's error.
    let devices = places.iter().filter_map(|place| place.get("value")?.as_array());
    Ok(devices.map(|bytes| bytes.iter().skip(4).any(|byte| byte != "0x00")).collect())
}

#[test]
fn the_program_of_copies_goes_with_the_last_copy() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    let (daemon, mut branches) = start(&lab, &[Mode::RoundRobin, Mode::All]).unwrap();
    assert_eq!(devices(&daemon).unwrap(), [true, true]);
    branches.truncate(1);
    daemon.edit(&[branches[0].receiver.clone()]).unwrap();
    assert_eq!(daemon.reload().unwrap().code, 0);
    let alone = || devices(&daemon).is_ok_and(|devices| devices == [false, false]);
    poll::wait("the program goes", alone).unwrap();
    begin(&daemon, &mut branches).unwrap();
}
