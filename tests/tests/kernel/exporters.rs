//! Several exporters, several observation domains, exporters that begin anew.

use anyhow::{Result, ensure};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, available};

use crate::scene::{MODES, Scene, Stream};

const ROUNDS: usize = 60;

#[test]
fn several_exporters_at_once() {
    if !available() {
        return;
    }
    let lab = Lab::new(3).unwrap();
    for mode in MODES {
        let scene = Scene::new(&lab, mode, Family::V4).unwrap();
        let mut all: Vec<(Stream<'_>, Flows)> = Vec::new();
        for domain in 1..=5 {
            // Each comes while those before it are at work.
            let mut flows = Flows::new(domain);
            let mut stream = scene.stream().unwrap();
            stream.begin(&mut flows).unwrap();
            all.push((stream, flows));
            everyone(&mut all, 5).unwrap();
        }
        everyone(&mut all, ROUNDS).unwrap();
        let streams: Vec<_> = all.iter().map(|(stream, _)| stream).collect();
        scene.judge(&streams, ROUNDS * 5).unwrap();
    }
}

fn everyone(all: &mut [(Stream<'_>, Flows)], rounds: usize) -> Result<()> {
    for round in 0..rounds {
        all.iter_mut().try_for_each(|(stream, flows)| stream.data([flows.data(1 + round % 9)]))?;
    }
    Ok(())
}

/// Domains that come while the session is the kernel's, each when `wait` lets it.
fn domains(lab: &Lab, mode: Mode, wait: bool) -> Result<()> {
    let mut scene = Scene::new(lab, mode, Family::V4)?;
    scene.window = 20;
    let mut stream = scene.stream()?;
    // Messages of a new domain are not counted yet: those of others get ahead.
    stream.by_domain = !wait;
    let mut first = Flows::new(1);
    stream.begin(&mut first)?;
    let mut domains = vec![first];
    for id in 2..=6 {
        let new = Flows::new(id).starting_at(u32::MAX - 20);
        stream.common(new.templates())?;
        if wait {
            scene.wait_for_arrival(0)?;
        }
        domains.push(new);
        rounds(&mut stream, &mut domains, 10)?;
    }
    let mut last = Flows::new(7);
    stream.common(last.templates())?;
    stream.settle(|| last.data(2))?;
    rounds(&mut stream, &mut domains, ROUNDS)?;
    scene.judge(&[&stream], ROUNDS * 6)
}

#[test]
fn several_observation_domains_in_one_session() {
    if available() {
        let lab = Lab::new(3).unwrap();
        MODES.into_iter().for_each(|mode| domains(&lab, mode, true).unwrap());
    }
}

#[test]
fn observation_domains_that_come_under_load() {
    if available() {
        let lab = Lab::new(3).unwrap();
        MODES.into_iter().for_each(|mode| domains(&lab, mode, false).unwrap());
    }
}

fn rounds(stream: &mut Stream<'_>, domains: &mut [Flows], rounds: usize) -> Result<()> {
    for round in 0..rounds {
        stream.data(domains.iter_mut().map(|flows| flows.data(1 + round % 9)))?;
    }
    Ok(())
}

/// A new domain whose data comes without templates, as after the loss of a datagram.
#[test]
fn a_domain_without_templates_is_passed_on() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    let scene = Scene::new(&lab, Mode::All, Family::V4).unwrap();
    let mut stream = scene.stream().unwrap();
    stream.begin(&mut Flows::new(1)).unwrap();
    let mut other = Flows::new(2);
    stream.data((0..50).map(|_| other.data(2))).unwrap();
    stream.settle(|| other.data(2)).unwrap();
    scene.judge(&[&stream], 2).unwrap();
}

/// The exporter's process began anew with the same address and port: numbers jump back.
#[test]
fn an_exporter_that_begins_anew() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for mode in MODES {
        let scene = Scene::new(&lab, mode, Family::V4).unwrap();
        let mut flows = Flows::new(1).starting_at(100_000);
        let mut stream = scene.stream().unwrap();
        stream.begin(&mut flows).unwrap();
        stream.data((0..50).map(|_| flows.data(3))).unwrap();
        let mut flows = flows.starting_at(0);
        stream.common(flows.templates()).unwrap();
        stream.settle(|| flows.data(3)).unwrap();
        stream.data((0..50).map(|_| flows.data(3))).unwrap();
        scene.wait_for_arrival(0).unwrap();
        scene.was_forwarded(100).unwrap();
        match mode {
            Mode::All => stream.judge().unwrap(),
            Mode::RoundRobin => restarted(&stream).unwrap(),
        }
    }
}

/// Every record is there once, and the jump back is seen by one collector.
fn restarted(stream: &Stream<'_>) -> Result<()> {
    let sessions = stream.sessions()?;
    let received: Vec<_> =
        sessions.iter().map(|session| decode::session(&session.messages)).collect();
    decode::records_once(&decode::session(&stream.sent), &received)?;
    let gaps: usize = received.iter().map(|one| one.gaps()).sum();
    ensure!(gaps == 1, "{gaps} jumps");
    Ok(())
}
