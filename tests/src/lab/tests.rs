//! The lab by itself: what a test of the balancer relies on.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::{Family, Lab, RawExporter, Shape, Site, available, available_with_vlans};
use crate::collector::{Collector, Protocol};
use crate::exporter::{Exporter, Flows, UdpExporter};
use crate::frame::Checksum;
use crate::net::V4;
use crate::poll;
use crate::tools::Nfcapd;

/// A collector in a site.
fn collector(site: &Site, protocol: Protocol, family: Family) -> Result<Collector> {
    site.run(|| Collector::start(protocol, site.ip(family)))
}

/// What one UDP socket in the balancer's namespace receives.
fn listener(lab: &Lab, family: Family) -> Result<UdpSocket> {
    lab.balancer().run(|| {
        let socket = UdpSocket::bind((lab.balancer_ip(family), 0))?;
        socket.set_read_timeout(Some(poll::PATIENCE))?;
        Ok(socket)
    })
}

fn received(socket: &UdpSocket) -> Result<(Vec<u8>, SocketAddr)> {
    let mut buffer = vec![0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer)?;
    buffer.truncate(length);
    Ok((buffer, from))
}

#[test]
fn exporters_and_collectors_meet_over_both_protocols_and_families() {
    if !available() {
        return;
    }
    let lab = Lab::new(0).unwrap();
    for family in Family::BOTH {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let to = lab.balancer_ip(family);
            let collector = lab.balancer().run(|| Collector::start(protocol, to)).unwrap();
            let address = collector.address();
            let mut exporter = lab.exporter().run(|| Exporter::connect(protocol, address)).unwrap();
            exporter.send_all(&Flows::new(1).session(5, 2)).unwrap();
            collector.wait_for(6).unwrap();
            assert_eq!(collector.sessions()[0].peer.ip(), lab.exporter().ip(family));
        }
    }
    assert_eq!(lab.balancer().counters().unwrap().udp_checksum_errors().unwrap(), 0);
    let counters = lab.exporter().interface.counters().unwrap();
    assert!(counters.sent >= 12 && counters.send_drops == 0, "{counters:?}");
}

/// From the balancer's namespace to a site, there and back.
fn reaches(lab: &Lab, site: &Site, family: Family) -> Result<()> {
    let collector = collector(site, Protocol::Tcp, family)?;
    let address = collector.address();
    let mut exporter = lab.balancer().run(|| Exporter::connect(Protocol::Tcp, address))?;
    exporter.send(&Flows::new(1).data(1))?;
    collector.wait_for(1)
}

#[test]
fn every_site_is_reached_also_behind_the_router() {
    if !available() {
        return;
    }
    let lab = Shape::new(2).routed(2).build().unwrap();
    for site in lab.collectors() {
        for family in Family::BOTH {
            reaches(&lab, site, family).unwrap();
        }
    }
    let router = lab.router().unwrap();
    assert_eq!(lab.collector(2).unwrap().peer.namespace().name(), router.namespace.name());
    assert!(router.interface.counters().unwrap().received > 0);
    let forwarded = lab.balancer().counters().unwrap().count("IpForwDatagrams").unwrap();
    assert_eq!(forwarded, 0);
}

#[test]
fn the_balancers_namespace_does_not_forward() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let site = lab.collector(0).unwrap();
    for family in Family::BOTH {
        let through = lab.balancer_ip(family);
        lab.exporter().namespace.ip(&format!("route add default via {through}")).unwrap();
        let collector = collector(site, Protocol::Tcp, family).unwrap();
        let address = collector.address();
        let refused = lab.exporter().run(|| {
            let limit = Duration::from_millis(200);
            Ok(TcpStream::connect_timeout(&address, limit).is_err())
        });
        assert!(refused.unwrap());
    }
}

#[test]
fn a_collector_listens_again_in_its_namespace() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let site = lab.collector(0).unwrap();
    let mut collector = collector(site, Protocol::Udp, Family::V4).unwrap();
    collector.stop();
    site.run(|| collector.resume()).unwrap();
    let address = collector.address();
    let exporter = lab.balancer().run(|| UdpExporter::connect(address)).unwrap();
    exporter.send(&Flows::new(1).data(1)).unwrap();
    collector.wait_for(1).unwrap();
}

#[test]
fn a_tool_runs_inside() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let site = lab.collector(0).unwrap();
    let nfcapd = site.run(|| Nfcapd::start_on(site.ip(Family::V4))).unwrap();
    let address = nfcapd.address();
    let mut exporter = lab.balancer().run(|| Exporter::connect(Protocol::Udp, address)).unwrap();
    exporter.send_all(&Flows::new(1).session(3, 4)).unwrap();
    assert_eq!(nfcapd.finish().unwrap().flows, 12);
}

#[test]
fn raw_frames_arrive_as_they_were_built() {
    if !available() {
        return;
    }
    let lab = Lab::new(0).unwrap();
    let exporter = RawExporter::open(lab.exporter()).unwrap();
    for family in Family::BOTH {
        let socket = listener(&lab, family).unwrap();
        let to = socket.local_addr().unwrap();
        let frame = |payload: &str| exporter.frame(4000, to, payload.as_bytes());
        let large = "fragments ".repeat(50);
        let frames = [
            vec![frame("plain").build().unwrap()],
            // A tag with a priority and no VLAN id, which any interface takes.
            vec![frame("tagged").vlan(0x6000).build().unwrap()],
            // Nothing but padding in both versions.
            vec![frame("options").ip_options(&[0; 4]).build().unwrap()],
            frame(&large).identification(5).fragments(200).unwrap(),
        ];
        for (frames, expected) in frames.into_iter().zip(["plain", "tagged", "options", &large]) {
            frames.iter().try_for_each(|frame| exporter.send(frame)).unwrap();
            let (payload, from) = received(&socket).unwrap();
            assert_eq!(String::from_utf8_lossy(&payload), expected);
            assert_eq!(from, SocketAddr::new(lab.exporter().ip(family), 4000));
        }
    }
}

#[test]
fn a_tagged_frame_comes_out_of_the_vlan() {
    if !available_with_vlans() {
        return;
    }
    let lab = Shape::new(0).vlan(7).vlan(8).build().unwrap();
    let exporter = RawExporter::open(lab.exporter()).unwrap();
    let (inner, peer) = &lab.exporter().vlans[1];
    for family in Family::BOTH {
        let socket = lab.balancer().run(|| Ok(UdpSocket::bind((peer.ip(family), 0))?)).unwrap();
        socket.set_read_timeout(Some(poll::PATIENCE)).unwrap();
        let to = socket.local_addr().unwrap();
        exporter.send(&exporter.frame(4000, to, b"tagged").vlan(8).build().unwrap()).unwrap();
        assert_eq!(received(&socket).unwrap().0, b"tagged");
        let exporter = lab.exporter().run(|| UdpExporter::connect(to)).unwrap();
        exporter.send(b"by a socket").unwrap();
        let (payload, from) = received(&socket).unwrap();
        assert_eq!((payload.as_slice(), from.ip()), (&b"by a socket"[..], inner.ip(family)));
    }
}

#[test]
fn wrong_checksums_are_refused_and_counted() {
    if !available() {
        return;
    }
    let lab = Lab::new(0).unwrap();
    let exporter = RawExporter::open(lab.exporter()).unwrap();
    for (family, refused) in [(Family::V4, 2), (Family::V6, 5)] {
        let socket = listener(&lab, family).unwrap();
        let to = socket.local_addr().unwrap();
        let frame = |state| exporter.frame(4000, to, b"x").checksum(state).build().unwrap();
        for state in [Checksum::Wrong, Checksum::Partial, Checksum::Zero, Checksum::Right] {
            exporter.send(&frame(state)).unwrap();
        }
        let arrived = if family == Family::V4 { 2 } else { 1 };
        (0..arrived).for_each(|_| assert_eq!(received(&socket).unwrap().0, b"x"));
        // A socket's own time, and not the frames', decides when they are checked.
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0]).is_err());
        let counters = lab.balancer().counters().unwrap();
        assert_eq!(counters.udp_checksum_errors().unwrap(), refused, "{family:?}");
    }
}

#[test]
fn links_go_down_and_come_up() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let site = lab.collector(0).unwrap();
    let collectors = Family::BOTH.map(|family| collector(site, Protocol::Tcp, family).unwrap());
    for end in [&site.interface, &site.peer] {
        end.down().unwrap();
        assert!(!collectors.iter().any(|collector| reaches_quickly(&lab, collector)));
        end.up().unwrap();
        for collector in &collectors {
            poll::wait("it is reached again", || reaches_quickly(&lab, collector)).unwrap();
        }
    }
}

#[test]
fn neighbours_are_forgotten() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let site = lab.collector(0).unwrap();
    for family in Family::BOTH {
        let address = site.ip(family);
        let known = || lab.balancer().ip("neigh show").unwrap().contains(&address.to_string());
        let forget: [&dyn Fn() -> Result<()>; 3] =
            [&|| site.peer.delete_neighbour(address), &|| site.peer.flush_neighbours(), &|| {
                lab.balancer().flush_neighbours()
            }];
        for forget in forget {
            reaches(&lab, site, family).unwrap();
            assert!(known(), "{address}");
            forget().unwrap();
            poll::wait("it is forgotten", || !known()).unwrap();
        }
    }
}

#[test]
fn an_address_moves_by_a_route() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    let (first, second) = (lab.collector(0).unwrap(), lab.collector(1).unwrap());
    let address = first.ip(Family::V4);
    first.namespace.ip(&format!("address del {address}/24 dev eth0")).unwrap();
    second.interface.add_address(&format!("{address}/32")).unwrap();
    let via = second.ip(Family::V4);
    lab.balancer().ip(&format!("route add {address}/32 via {via}")).unwrap();
    let before = second.interface.counters().unwrap().received;
    let collector = second.run(|| Collector::start(Protocol::Tcp, address)).unwrap();
    assert!(reaches_quickly(&lab, &collector));
    assert!(second.interface.counters().unwrap().received > before);
}

#[test]
fn the_mtu_and_the_ethernet_address_change() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let site = lab.collector(0).unwrap();
    site.set_mtu(9000).unwrap();
    let mut interface = site.interface.clone();
    interface.set_mac([2, 0, 0, 0, 0, 9]).unwrap();
    assert_eq!(interface.mac(), [2, 0, 0, 0, 0, 9]);
    let links = [site.namespace.ip("link").unwrap(), lab.balancer().ip("link").unwrap()];
    assert!(links.iter().all(|link| link.contains("mtu 9000")), "{links:?}");
    assert!(links[0].contains("02:00:00:00:00:09"), "{links:?}");
}

fn reaches_quickly(lab: &Lab, collector: &Collector) -> bool {
    let limit = Duration::from_millis(200);
    let connect = || Ok(TcpStream::connect_timeout(&collector.address(), limit)?);
    lab.balancer().run(connect).is_ok()
}

#[test]
fn interfaces_have_the_features_that_the_shape_says() {
    if !available() {
        return;
    }
    let usual = Lab::new(1).unwrap();
    let as_linux = Shape::new(1).checksum_offload().no_receive_offload().mtu(3000).build().unwrap();
    for (lab, tx, gro) in [(&usual, "off", "on"), (&as_linux, "on", "off")] {
        let features = |site: &Site| site.namespace.command("ethtool", &["-k", "eth0"]).unwrap();
        let exporter = features(lab.exporter());
        assert!(exporter.contains(&format!("tx-checksumming: {tx}")), "{exporter}");
        assert!(exporter.contains("tx-vlan-offload: off"), "{exporter}");
        let collector = features(lab.collector(0).unwrap());
        assert!(collector.contains(&format!("generic-receive-offload: {gro}")), "{collector}");
    }
    let links = as_linux.balancer().ip("link show").unwrap();
    assert_eq!(links.matches("mtu 3000").count(), 2, "{links}");
}

fn names() -> String {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nothing_is_left_after_a_panic() {
    if !available() {
        return;
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let lab = Lab::new(1).unwrap();
        sender.send(Arc::clone(lab.balancer())).unwrap();
        let site = lab.collector(0).unwrap();
        site.run(|| -> Result<()> { panic!("as tests do") }).unwrap();
    });
    let balancer = receiver.recv().unwrap();
    assert!(names().contains(balancer.name()));
    assert!(thread.join().is_err());
    let interfaces = balancer.ip("link show").unwrap();
    assert!(!interfaces.contains("exp") && !interfaces.contains("col0"), "{interfaces}");
    let name = balancer.name().to_owned();
    drop(balancer);
    assert!(!names().contains(&name));
}

#[test]
fn leftovers_of_a_killed_process_go_with_what_runs_in_them() {
    if !available() {
        return;
    }
    let gone = {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    };
    let name = format!("ipfixlab-{gone}-0-balancer");
    Command::new("ip").args(["netns", "add", &name]).status().unwrap();
    let mut enter = Command::new("ip");
    enter.args(["netns", "exec", &name, "sleep", "1000"]).stdin(Stdio::null()).process_group(0);
    let mut left = enter.spawn().unwrap();
    let inside = || super::namespace::processes(&name).unwrap();
    poll::wait("it runs inside", || !inside().is_empty()).unwrap();
    drop(Lab::new(0).unwrap());
    left.wait().unwrap();
    assert!(!names().contains(&name));
}

#[test]
fn ports_are_free_in_the_namespace_and_reserved_at_home() {
    if !available() {
        return;
    }
    let lab = Lab::new(0).unwrap();
    let inside = lab.balancer().run(|| crate::net::free_port(V4)).unwrap();
    // Held by a socket at home, which does not keep the namespace alive.
    let held = std::fs::read_to_string("/proc/net/unix").unwrap();
    assert!(held.contains(&format!("ipfix-balancer-tests-port-{inside}")));
}
