//! What a test run can't show: packets that leave. The programs alone, without a daemon.

mod rig;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;

use anyhow::{Context, Result};
use common::message::set_sequence;
use ipfix_balancer_tests::lab::{Family, Lab, Shape, available};
use nix::sys::sendfile::sendfile64;

use super::case::flow_of;
use super::moved::on_cpu;
use super::world::World;
use rig::{EXPORTER_PORT, Place, RECEIVER_PORT, Rig};

/// Messages of 10 records each, of even and odd lengths.
fn messages(count: u32) -> Vec<Vec<u8>> {
    let lengths = (1000..).step_by(7);
    (0..count).zip(lengths).map(|(round, octets)| flow_of(5000 + 10 * round, octets)).collect()
}

/// What each destination is to get in All.
fn copied(messages: &[Vec<u8>], destinations: usize) -> Vec<Vec<Vec<u8>>> {
    vec![messages.to_vec(); destinations]
}

/// What each destination is to get in RoundRobin, in a session that begins with these messages.
fn dealt(messages: &[Vec<u8>], destinations: usize) -> Vec<Vec<Vec<u8>>> {
    let mut dealt = vec![Vec::new(); destinations];
    for (message, turn) in messages.iter().zip((0..destinations).cycle()) {
        let Some(got) = dealt.get_mut(turn) else { continue };
        let mut message = message.clone();
        set_sequence(&mut message, u32::try_from(got.len()).unwrap_or_default() * 10);
        got.push(message);
    }
    dealt
}

fn hosts(lab: &Lab, family: Family) -> (IpAddr, IpAddr) {
    (lab.exporter().ip(family), lab.balancer_ip(family))
}

fn everyone(lab: &Lab, family: Family, tag: Option<u16>, place: Place) -> Result<()> {
    let mut rig = Rig::new(lab, family, 4)?;
    let destinations = rig.count();
    rig.start(&World::everyone(destinations), hosts(lab, family), place)?;
    let messages = messages(12);
    rig.send(&messages, tag, destinations)?;
    rig.check(&copied(&messages, destinations))?;
    counted(&mut rig, &messages, |_| messages.len())
}

fn in_turn(lab: &Lab, family: Family, tag: Option<u16>, place: Place) -> Result<()> {
    let mut rig = Rig::new(lab, family, 2)?;
    let destinations = rig.count();
    rig.start(&World::fresh(destinations), hosts(lab, family), place)?;
    let messages = messages(10);
    rig.send(&messages, tag, 1)?;
    let dealt = dealt(&messages, destinations);
    rig.check(&dealt)?;
    counted(&mut rig, &messages, |to| dealt.get(to).map_or(0, Vec::len))
}

/// Every message was counted once, and once for each destination that got it.
fn counted(rig: &mut Rig<'_>, all: &[Vec<u8>], sent: impl Fn(usize) -> usize) -> Result<()> {
    let counters = rig.counters()?;
    let [messages, octets, ..] = counters.receiver;
    let octets_sent: usize = all.iter().map(Vec::len).sum();
    anyhow::ensure!((messages, octets) == (all.len() as u64, octets_sent as u64), "{counters:?}");
    for (to, [messages, _]) in counters.destinations.iter().take(rig.count()).enumerate() {
        anyhow::ensure!(*messages == sent(to) as u64, "destination {to}: {counters:?}");
    }
    Ok(())
}

/// Several destinations behind one interface: the n-th copy that leaves by it goes to the n-th.
#[test]
fn xdp_copies_once_for_each_destination() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for (family, tag) in [(Family::V4, None), (Family::V6, None), (Family::V4, Some(100))] {
        everyone(&lab, family, tag, Place::Xdp).unwrap();
    }
}

#[test]
fn xdp_sends_in_turn() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for (family, tag) in [(Family::V4, None), (Family::V6, None), (Family::V6, Some(100))] {
        in_turn(&lab, family, tag, Place::Xdp).unwrap();
    }
}

#[test]
fn tc_copies_once_for_each_destination() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for (family, tag) in [(Family::V4, None), (Family::V6, None), (Family::V4, Some(100))] {
        everyone(&lab, family, tag, Place::Ingress).unwrap();
    }
}

/// The kernel has taken the tag out of the frame by then, and keeps it beside it.
#[test]
fn tc_sends_in_turn() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    for (family, tag) in [(Family::V4, None), (Family::V6, None), (Family::V6, Some(100))] {
        in_turn(&lab, family, tag, Place::Ingress).unwrap();
    }
}

/// What a `TASKSET` asks for.
fn on_another_cpu(lab: &Lab, mode: World) -> Result<()> {
    let all = mode.mode == balancer_user::config::Mode::All;
    let mut rig = Rig::new(lab, Family::V4, 2)?;
    let destinations = rig.count();
    let world = mode.with(|world| world.cpu = 1);
    rig.start(&world, hosts(lab, Family::V4), Place::Cpu(1))?;
    on_cpu(0)?;
    let messages = messages(10);
    rig.send(&messages, None, if all { destinations } else { 1 })?;
    match all {
        true => rig.check(&copied(&messages, destinations))?,
        false => rig.check(&dealt(&messages, destinations))?,
    }
    let by_cpu = rig.forwarded_by_cpu()?;
    anyhow::ensure!(by_cpu.get(1) == Some(&10), "{by_cpu:?}");
    Ok(())
}

#[test]
fn the_work_is_done_on_the_receivers_cpu() {
    if !available() || thread::available_parallelism().unwrap().get() < 2 {
        return;
    }
    let lab = Lab::new(2).unwrap();
    on_another_cpu(&lab, World::everyone(4)).unwrap();
    let lab = Lab::new(2).unwrap();
    on_another_cpu(&lab, World::fresh(4)).unwrap();
}

/// Sends by a socket, as an ordinary exporter does.
fn socket(from: IpAddr, to: IpAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((from, EXPORTER_PORT))?;
    socket.connect(SocketAddr::new(to, RECEIVER_PORT))?;
    Ok(socket)
}

/// A checksum that the sender has left to its network card, which there is none of.
fn unfinished_checksums(lab: &Lab, family: Family, world: World, copies: usize) -> Result<()> {
    let mut rig = Rig::new(lab, family, 2)?;
    let (exporter, balancer) = hosts(lab, family);
    let destinations = rig.count();
    rig.start(&world, (exporter, balancer), Place::Ingress)?;
    let socket = lab.exporter().run(|| socket(exporter, balancer))?;
    let messages = messages(8);
    for (message, number) in messages.iter().zip(1..) {
        socket.send(message)?;
        rig.wait_for(number * copies)?;
    }
    match copies {
        1 => rig.check(&dealt(&messages, destinations)),
        _ => rig.check(&copied(&messages, destinations)),
    }
}

#[test]
fn tc_leaves_checksums_to_be_finished() {
    if !available() {
        return;
    }
    let lab = Shape::new(2).checksum_offload().build().unwrap();
    for family in Family::BOTH {
        unfinished_checksums(&lab, family, World::fresh(4), 1).unwrap();
        unfinished_checksums(&lab, family, World::everyone(4), 4).unwrap();
    }
}

/// As many drivers hand packets over: the kernel has the headers in one piece, the message in others.
fn in_pieces(lab: &Lab, family: Family) -> Result<()> {
    let mut rig = Rig::new(lab, family, 2)?;
    let (exporter, balancer) = hosts(lab, family);
    let destinations = rig.count();
    rig.start(&World::fresh(destinations), (exporter, balancer), Place::Ingress)?;
    let socket = lab.exporter().run(|| socket(exporter, balancer))?;
    let messages = messages(8);
    for (message, number) in messages.iter().zip(1..) {
        let mut file = tempfile::tempfile()?;
        file.write_all(message)?;
        // The file's pages become the packet's.
        let sent = sendfile64(&socket, &file, Some(&mut 0), message.len())?;
        anyhow::ensure!(sent == message.len(), "a message was cut");
        rig.wait_for(number)?;
    }
    rig.check(&dealt(&messages, destinations))
}

#[test]
fn tc_joins_packets_that_are_in_pieces() {
    if !available() {
        return;
    }
    let lab = Shape::new(2).checksum_offload().build().unwrap();
    for family in Family::BOTH {
        in_pieces(&lab, family).unwrap();
    }
}

/// An exporter on this host, collectors on this host and elsewhere.
fn loopback(lab: &Lab, family: Family, world: World, copies: usize) -> Result<()> {
    let ip: IpAddr = match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    let mut rig = Rig::new(lab, family, 1)?;
    rig.add_local(ip)?;
    rig.add_local(ip)?;
    let destinations = rig.count();
    rig.start(&world, (ip, ip), Place::Loopback)?;
    let socket = lab.balancer().run(|| socket(ip, ip))?;
    let messages = messages(8);
    for (message, number) in messages.iter().zip(1..) {
        socket.send(message).context("sending")?;
        rig.wait_for(number * copies)?;
    }
    match copies {
        1 => rig.check(&dealt(&messages, destinations)),
        _ => rig.check(&copied(&messages, destinations)),
    }
}

#[test]
fn exporters_on_this_host_are_served_at_lo() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    for family in Family::BOTH {
        loopback(&lab, family, World::fresh(3), 1).unwrap();
        loopback(&lab, family, World::everyone(3), 3).unwrap();
    }
}
