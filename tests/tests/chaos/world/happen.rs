//! Bringing events about, and mending what they did.

use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::daemon::Receiver;
use ipfix_balancer_tests::lab::{Family, Site};

use super::{FAULTY, World, with_destinations};
use crate::event::{Kind, Place};
use crate::malformed::Faulty;
use crate::plan::{Regime, Step};
use crate::traffic::Task;

impl World {
    /// Brings about a side of an event.
    pub fn happen(&mut self, kind: Kind, step: Step) -> Result<()> {
        match (kind, step) {
            (Kind::Kill(place), Step::Begin) => self.collector(place).kill(),
            (Kind::Kill(place), Step::End) => self.resume(place)?,
            (Kind::Reset(place), Step::Begin) => self.collector(place).reset(),
            (Kind::Stall(place), Step::Begin) => self.collector(place).stall(),
            (Kind::Stall(place), Step::End) => self.collector(place).read_on(),
            (Kind::BlackHole(site), step) => self.address(site, step)?,
            (Kind::LinkDown(site), Step::Begin) => self.site(site)?.peer.down()?,
            (Kind::LinkDown(site), Step::End) => self.site(site)?.peer.up()?,
            (Kind::RouteGone(site), step) => self.route(site, step)?,
            (Kind::Forgotten(site), Step::Begin) => self.forget(site)?,
            (Kind::NewMac(site), Step::Begin) => self.new_mac(site)?,
            (Kind::NewMac(site), Step::End) => self.forget(site)?,
            (Kind::DiskFull, Step::Begin) => self.fill_disk()?,
            (Kind::DiskFull, Step::End) => fs::remove_file(self.ballast())?,
            (Kind::Reload(receiver), step) => self.reload(receiver, step)?,
            (Kind::Restart, Step::Begin) => self.restart()?,
            (Kind::KillDaemon, Step::Begin) => self.kill_daemon()?,
            (Kind::Malformed(receiver, fault), Step::Begin) => {
                let task = self.task(receiver)?;
                let task = Task { number: task.number + FAULTY, ..task };
                self.faulty.push(self.lab.exporter().run(|| Ok(Faulty::start(task, fault)))?);
            }
            (
                Kind::Reset(_)
                | Kind::Forgotten(_)
                | Kind::Restart
                | Kind::KillDaemon
                | Kind::Malformed(..),
                Step::End,
            ) => {}
        }
        Ok(())
    }

    fn collector(&mut self, Place { receiver, site }: Place) -> &mut Collector {
        &mut self.collectors[receiver][site]
    }

    fn site(&self, site: usize) -> Result<&Site> {
        self.lab.collector(site)
    }

    fn resume(&mut self, place: Place) -> Result<()> {
        let collector = &mut self.collectors[place.receiver][place.site];
        self.lab.collector(place.site)?.run(|| collector.resume())
    }

    fn address(&self, site: usize, step: Step) -> Result<()> {
        let site = self.site(site)?;
        let what = if step == Step::Begin { "delete" } else { "add" };
        let address = site.ip(Family::V4);
        site.namespace.ip(&format!("address {what} {address}/24 dev eth0")).map(drop)
    }

    fn route(&self, site: usize, step: Step) -> Result<()> {
        let site = self.site(site)?;
        let IpAddr::V4(own) = site.peer.ip(Family::V4) else { bail!("no IPv4 address") };
        let [a, b, c, _] = own.octets();
        let what = if step == Step::Begin { "delete" } else { "add" };
        let dev = site.peer.name();
        let route =
            format!("route {what} {a}.{b}.{c}.0/24 dev {dev} proto kernel scope link src {own}");
        self.lab.balancer().ip(&route).map(drop)
    }

    /// There may be no entry just now.
    fn forget(&self, site: usize) -> Result<()> {
        let site = self.site(site)?;
        drop(site.peer.delete_neighbour(site.ip(Family::V4)));
        Ok(())
    }

    fn new_mac(&mut self, site: usize) -> Result<()> {
        self.macs += 1;
        let mac = [2, 0x77, 9, 9, u8::try_from(site)?, self.macs];
        self.site(site)?.interface.clone().set_mac(mac)
    }

    fn ballast(&self) -> PathBuf {
        self.disk.path().join("ballast")
    }

    fn fill_disk(&self) -> Result<()> {
        let mut file = File::create(self.ballast())?;
        for chunk in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; chunk]).is_ok() {}
        }
        Ok(())
    }

    fn reload(&mut self, receiver: usize, step: Step) -> Result<()> {
        self.extended[receiver] = step == Step::Begin;
        self.daemon.edit(&self.served())?;
        let outcome = self.daemon.reload()?;
        ensure!(outcome.code == 0, "reload: {}", outcome.stderr);
        Ok(())
    }

    fn served(&self) -> Vec<Receiver> {
        let serve = |index: usize| {
            with_destinations(&self.receivers[index], &self.collectors[index], self.extended[index])
        };
        (0..self.receivers.len()).map(serve).collect()
    }

    fn restart(&mut self) -> Result<()> {
        let (daemon, regime) = (&mut self.daemon, Regime::of(self.seed));
        self.lab.balancer().run(|| match regime {
            Regime::Managed => daemon.replace(),
            Regime::Alone | Regime::Steady => daemon.take_over(),
        })
    }

    fn kill_daemon(&mut self) -> Result<()> {
        self.daemon.kill()?;
        let daemon = &mut self.daemon;
        self.lab.balancer().run(|| daemon.restart())
    }
}
