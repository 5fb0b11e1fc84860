//! `ALLOW_FROM` in userspace: who is not in it is not served, also who was before a reload.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::daemon::{Mode, Receiver};
use ipfix_balancer_tests::exporter::{Exporter, Flows, Message};
use ipfix_balancer_tests::net::{V4, V6, free_address};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

/// Networks that the exporters of a test come from, and others.
fn networks(ip: IpAddr) -> (&'static str, &'static str) {
    if ip.is_ipv4() {
        ("10.0.0.0/8, 127.0.0.0/8", "10.0.0.0/8, 127.0.0.2")
    } else {
        ("2001:db8::/32, ::1", "2001:db8::/32, ::2/128")
    }
}

struct Scene {
    setup: Setup,
    receiver: Receiver,
}

impl Scene {
    fn new(protocol: Protocol, ip: IpAddr) -> Result<Self> {
        let receiver = Receiver::new(Mode::All, protocol, free_address(ip)?).set("ACCEL", "off");
        let foreign = receiver.clone().set("ALLOW_FROM", networks(ip).1);
        let collectors = ipfix_balancer_tests::collector::Collector::several(1, Tcp, ip)?;
        Ok(Self { setup: Setup::serving(foreign, collectors)?, receiver })
    }

    fn allow(&self, networks: &str) -> Result<()> {
        let receiver = self.receiver.clone().to(&self.setup.collectors);
        self.setup.daemon.edit(&[receiver.set("ALLOW_FROM", networks)])?;
        let outcome = self.setup.daemon.reload()?;
        ensure!(outcome.code == 0, "{}", outcome.stderr);
        Ok(())
    }

    fn arrived(&self) -> usize {
        self.setup.collectors.iter().map(|one| one.messages()).sum()
    }
}

/// The exporter learns of it, where its protocol tells.
fn is_refused(exporter: &mut Exporter) -> Result<()> {
    match exporter {
        Exporter::Tcp(tcp) => ensure!(tcp.is_closed_within(poll::PATIENCE)?, "it is open"),
        Exporter::Udp(udp) => udp.send(&Message::new(1, 0).build())?,
    }
    Ok(())
}

fn only_who_is_allowed(protocol: Protocol, ip: IpAddr) -> Result<()> {
    let scene = Scene::new(protocol, ip)?;
    let mut flows = Flows::new(1);
    let mut exporter = scene.setup.exporter()?;
    is_refused(&mut exporter)?;
    scene.setup.wait_for_drops("not_allowed", 1)?;

    scene.allow(networks(ip).0)?;
    let mut exporter = scene.setup.exporter()?;
    let messages = flows.session(3, 2);
    exporter.send_all(&messages)?;
    poll::wait("what is allowed arrives", || scene.arrived() == messages.len())?;

    // Its session ends, with nothing of what it sends from now on passed on.
    scene.allow(networks(ip).1)?;
    is_refused(&mut exporter)?;
    scene.setup.wait_for_drops("not_allowed", 2)?;
    scene.setup.daemon.wait_for(&scene.receiver.name(), "no session", |now| now.sessions() == 0)?;
    ensure!(scene.arrived() == messages.len(), "{} have arrived", scene.arrived());

    scene.allow(networks(ip).0)?;
    scene.setup.exporter()?.send_all(&messages)?;
    poll::wait("it may come back", || scene.arrived() == 2 * messages.len())
}

#[test]
fn tcp_exporters_that_are_not_allowed_are_turned_away_and_lose_their_sessions() {
    for ip in [V4, V6] {
        only_who_is_allowed(Tcp, ip).unwrap();
    }
}

#[test]
fn udp_exporters_that_are_not_allowed_are_dropped_and_lose_their_sessions() {
    for ip in [V4, V6] {
        only_who_is_allowed(Udp, ip).unwrap();
    }
}

/// Two sources on one host, of which one is allowed: nothing that the other sends is looked into.
#[test]
fn a_foreign_source_beside_an_allowed_one_is_counted_as_that_whatever_it_sends() {
    let receiver = Receiver::new(Mode::All, Udp, free_address(V4).unwrap());
    let receiver = receiver.set("ALLOW_FROM", "127.0.0.1").set("ACCEL", "off");
    let collectors = ipfix_balancer_tests::collector::Collector::several(1, Tcp, V4).unwrap();
    let setup = Setup::serving(receiver, collectors).unwrap();
    let mut flows = Flows::new(1);
    let exporter = setup.udp().unwrap();
    exporter.send(&flows.templates()).unwrap();
    let port = exporter.address().unwrap().port();
    // The port is the allowed one's as well.
    let foreign = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 2], port)));
    let foreign = foreign.or_else(|_| UdpSocket::bind("127.0.0.2:0")).unwrap();
    foreign.connect(setup.receiver.address()).unwrap();
    for datagram in [&flows.data(1)[..], b"GET / HTTP/1.1", &[0, 9, 0, 0]] {
        foreign.send(datagram).context("send").unwrap();
    }
    setup.wait_for_drops("not_allowed", 3).unwrap();
    exporter.send(&flows.data(1)).unwrap();
    setup.collectors[0].wait_for(2).unwrap();
    assert_eq!((setup.collectors[0].messages(), setup.dropped().unwrap()), (2, 3));
}
