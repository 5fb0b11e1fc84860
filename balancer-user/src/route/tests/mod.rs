mod namespace;

use std::{net::IpAddr, time::Duration};

use tokio::time::timeout;

use self::namespace::{Peer, eventually, in_namespace, index, mac, output, run, sysctl};
use super::*;

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// Waits until a destination is resolved.
fn resolved(routes: &mut Routes, destination: &str, source: &str) -> NextHop {
    eventually(destination, || routes.resolve(ip(destination), ip(source)).ok())
}

fn reason(routes: &mut Routes, destination: &str, source: &str) -> &'static str {
    routes.resolve(ip(destination), ip(source)).unwrap_err().as_str()
}

/// Waits for a reason why a destination is not resolved.
fn unresolved(routes: &mut Routes, destination: &str, source: &str, reason: &str) {
    eventually(reason, || {
        let resolved = routes.resolve(ip(destination), ip(source));
        resolved.is_err_and(|error| error.as_str() == reason).then_some(())
    });
}

/// Two hosts, joined by `wire`: 10.0.0.1 and fd00::1 here, 10.0.0.2 and fd00::2 there.
fn two_hosts() -> Peer {
    let peer = Peer::new();
    peer.join("wire");
    run("ip addr add 10.0.0.1/24 dev wire");
    run("ip addr add fd00::1/64 dev wire");
    peer.run("ip addr add 10.0.0.2/24 dev wire");
    peer.run("ip addr add fd00::2/64 dev wire");
    peer
}

/// What `ip neigh` says of 10.0.0.2.
fn neighbour() -> String {
    output("ip -d neigh show 10.0.0.2 nud all")
}

#[test]
fn destinations_on_the_link_are_neighbours_themselves() {
    in_namespace(|| {
        let peer = two_hosts();
        let mut routes = Routes::new().unwrap();
        let expected = NextHop {
            interface: index("wire"),
            mtu: 1500,
            source_mac: mac("wire"),
            destination_mac: peer.mac("wire"),
            local: false,
        };
        assert_eq!(resolved(&mut routes, "10.0.0.2", "10.0.0.1"), expected);
        assert_eq!(resolved(&mut routes, "::ffff:10.0.0.2", "10.0.0.1"), expected);
        assert_eq!(resolved(&mut routes, "10.0.0.2", "0.0.0.0"), expected);
        assert_eq!(resolved(&mut routes, "fd00::2", "fd00::1"), expected);
        assert_eq!(resolved(&mut routes, "fd00::2", "::"), expected);
    });
}

#[test]
fn destinations_behind_a_gateway_have_its_ethernet_address() {
    in_namespace(|| {
        let peer = two_hosts();
        run("ip route add 192.0.2.0/24 via 10.0.0.2");
        run("ip route add 198.51.100.0/24 via inet6 fd00::2");
        run("ip route add 2001:db8::/32 via fd00::2");
        let mut routes = Routes::new().unwrap();
        for (destination, source) in
            [("192.0.2.1", "10.0.0.1"), ("198.51.100.1", "10.0.0.1"), ("2001:db8::1", "fd00::1")]
        {
            let next_hop = resolved(&mut routes, destination, source);
            assert_eq!(next_hop.destination_mac, peer.mac("wire"), "{destination}");
        }
    });
}

#[test]
fn the_source_address_takes_part_in_routing() {
    in_namespace(|| {
        let peer = two_hosts();
        peer.join("second");
        run("ip addr add 10.1.0.1/24 dev second");
        peer.run("ip addr add 10.1.0.2/24 dev second");
        run("ip rule add from 10.1.0.1 lookup 100");
        run("ip route add default via 10.0.0.2");
        run("ip route add default via 10.1.0.2 table 100");
        let mut routes = Routes::new().unwrap();
        let first = resolved(&mut routes, "192.0.2.1", "10.0.0.1");
        let second = resolved(&mut routes, "192.0.2.1", "10.1.0.1");
        assert_eq!(first.interface, index("wire"));
        assert_eq!(second.interface, index("second"));
        assert_eq!(reason(&mut routes, "192.0.2.1", "10.9.9.9"), "foreign source address");
        assert_eq!(reason(&mut routes, "192.0.2.1", "fd00::1"), "foreign source address");
    });
}

#[test]
fn destinations_on_this_host_are_local() {
    in_namespace(|| {
        let _peer = two_hosts();
        let mut routes = Routes::new().unwrap();
        for (destination, source) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.3.2.1", "127.0.0.1"),
            ("::1", "::1"),
            ("10.0.0.1", "10.0.0.1"),
            ("fd00::1", "fd00::1"),
        ] {
            // Of an IPv6 address the kernel makes sure first that nobody else has it.
            let next_hop = resolved(&mut routes, destination, source);
            let expected = NextHop {
                interface: index("lo"),
                mtu: 65536,
                source_mac: [0; 6],
                destination_mac: [0; 6],
                local: true,
            };
            assert_eq!(next_hop, expected, "{destination}");
        }
    });
}

#[test]
fn every_kind_of_no_route_has_its_reason() {
    in_namespace(|| {
        let _peer = two_hosts();
        for prefix in ["192.0.2", "2001:db8:"] {
            run(&format!("ip route add unreachable {}", host(prefix, 1)));
            run(&format!("ip route add prohibit {}", host(prefix, 2)));
            run(&format!("ip route add blackhole {}", host(prefix, 3)));
        }
        let mut routes = Routes::new().unwrap();
        for (prefix, source) in [("192.0.2", "10.0.0.1"), ("2001:db8:", "fd00::1")] {
            let mut reason = |number| reason(&mut routes, &host(prefix, number), source);
            assert_eq!(reason(1), "unreachable route");
            assert_eq!(reason(2), "prohibited route");
            assert_eq!(reason(3), "blackhole route");
            assert_eq!(reason(4), "no route");
        }
        assert_eq!(reason(&mut routes, "10.0.0.255", "10.0.0.1"), "not unicast");
        assert_eq!(reason(&mut routes, "fe80::1", "fd00::1"), "link-local address");
    });
}

fn host(prefix: &str, number: u8) -> String {
    let separator = if prefix.contains(':') { ":" } else { "." };
    format!("{prefix}{separator}{number}")
}

#[test]
fn tunnels_are_refused() {
    in_namespace(|| {
        let _peer = two_hosts();
        run("ip tuntap add tunnel mode tun");
        run("ip addr add 10.2.0.1/24 dev tunnel");
        run("ip link set tunnel up");
        run("ip route add 2001:db8::/32 encap seg6 mode encap segs fd00::2 dev wire");
        let mut routes = Routes::new().unwrap();
        assert_eq!(reason(&mut routes, "10.2.0.2", "10.2.0.1"), "no ethernet");
        assert_eq!(reason(&mut routes, "2001:db8::1", "fd00::1"), "encapsulating route");
    });
}

#[test]
fn a_missing_neighbour_is_asked_for_until_it_comes() {
    in_namespace(|| {
        let peer = two_hosts();
        peer.run("ip addr del 10.0.0.2/24 dev wire");
        sysctl("net/ipv4/neigh/wire/retrans_time_ms", 200);
        sysctl("net/ipv4/neigh/wire/interval_probe_time_ms", 100);
        let mut routes = Routes::new().unwrap();
        assert_eq!(reason(&mut routes, "10.0.0.2", "10.0.0.1"), "neighbour being resolved");
        unresolved(&mut routes, "10.0.0.2", "10.0.0.1", "neighbour does not answer");
        peer.run("ip addr add 10.0.0.2/24 dev wire");
        let next_hop = resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        assert_eq!(next_hop.destination_mac, peer.mac("wire"));
    });
}

#[test]
fn a_neighbour_that_goes_away_is_noticed() {
    in_namespace(|| {
        let peer = two_hosts();
        sysctl("net/ipv4/neigh/wire/base_reachable_time_ms", 200);
        sysctl("net/ipv4/neigh/wire/delay_first_probe_time", 1);
        sysctl("net/ipv4/neigh/wire/retrans_time_ms", 50);
        sysctl("net/ipv4/neigh/wire/interval_probe_time_ms", 100);
        let mut routes = Routes::new().unwrap();
        resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        peer.run("ip addr del 10.0.0.2/24 dev wire");
        let mut changes = Ticks::new();
        while routes.resolve(ip("10.0.0.2"), ip("10.0.0.1")).is_ok() {
            changes.next();
        }
        unresolved(&mut routes, "10.0.0.2", "10.0.0.1", "neighbour does not answer");
    });
}

#[test]
fn neighbours_are_managed_until_they_are_released() {
    in_namespace(|| {
        let _peer = two_hosts();
        let mut routes = Routes::new().unwrap();
        resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        assert!(neighbour().contains("managed"), "{}", neighbour());
        routes.release_unused();
        assert!(neighbour().contains("managed"), "still in use: {}", neighbour());
        routes.release_unused();
        assert!(!neighbour().contains("managed"), "{}", neighbour());
        assert!(neighbour().contains("lladdr"), "{}", neighbour());

        resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        assert!(neighbour().contains("managed"), "{}", neighbour());
        drop(routes);
        assert!(!neighbour().contains("managed"), "{}", neighbour());
    });
}

#[test]
fn what_a_killed_balancer_has_left_managed_is_released() {
    in_namespace(|| {
        let _peer = two_hosts();
        let mut killed = Routes::new().unwrap();
        resolved(&mut killed, "10.0.0.2", "10.0.0.1");
        std::mem::forget(killed);
        let mut routes = Routes::new().unwrap();
        assert!(neighbour().contains("managed"), "{}", neighbour());
        routes.release_unused();
        assert!(!neighbour().contains("managed"), "{}", neighbour());
    });
}

#[test]
fn entries_of_others_are_used_and_not_changed() {
    in_namespace(|| {
        let _peer = two_hosts();
        let mac = [2, 0, 0, 0, 0, 9];
        for kind in ["nud permanent", "nud noarp", "extern_learn", "managed"] {
            run("ip neigh flush dev wire nud all");
            let address = if kind == "managed" { "" } else { "lladdr 02:00:00:00:00:09" };
            run(&format!("ip neigh replace 10.0.0.2 {address} dev wire {kind}"));
            let mut routes = Routes::new().unwrap();
            let next_hop = resolved(&mut routes, "10.0.0.2", "10.0.0.1");
            assert!(kind == "managed" || next_hop.destination_mac == mac, "{kind}");
            drop(routes);
            let word = kind.split(' ').next_back().unwrap();
            let flag = if word == "permanent" || word == "noarp" {
                word.to_uppercase()
            } else {
                word.to_owned()
            };
            assert!(neighbour().contains(&flag), "{kind}: {}", neighbour());
            assert!(!neighbour().contains("proto"), "{kind}: {}", neighbour());
        }
    });
}

#[test]
fn an_entry_that_an_operator_makes_permanent_is_the_operators() {
    in_namespace(|| {
        let _peer = two_hosts();
        let mut routes = Routes::new().unwrap();
        resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        run("ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:09 dev wire nud permanent");
        let next_hop = resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        assert_eq!(next_hop.destination_mac, [2, 0, 0, 0, 0, 9]);
        drop(routes);
        assert!(neighbour().contains("PERMANENT"), "{}", neighbour());
    });
}

#[test]
fn interfaces_that_resolve_no_addresses_have_their_own() {
    in_namespace(|| {
        let _peer = two_hosts();
        run("ip link set wire arp off");
        let mut routes = Routes::new().unwrap();
        for _ in 0..2 {
            let next_hop = resolved(&mut routes, "10.0.0.2", "10.0.0.1");
            assert_eq!(next_hop.destination_mac, mac("wire"));
        }
        assert!(neighbour().contains("NOARP"), "{}", neighbour());
        drop(routes);
        assert!(!neighbour().contains("managed"), "{}", neighbour());
    });
}

#[test]
fn idle_neighbours_stay_alive() {
    in_namespace(|| {
        let _peer = two_hosts();
        sysctl("net/ipv4/neigh/wire/base_reachable_time_ms", 100);
        sysctl("net/ipv4/neigh/wire/delay_first_probe_time", 0);
        sysctl("net/ipv4/neigh/wire/interval_probe_time_ms", 100);
        let mut routes = Routes::new().unwrap();
        resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        // Nothing is sent, and yet it is confirmed again and again.
        for state in ["STALE", "REACHABLE", "STALE", "REACHABLE"] {
            eventually(state, || neighbour().contains(state).then_some(()));
        }
    });
}

#[test]
fn an_entry_that_is_flushed_comes_back() {
    in_namespace(|| {
        let _peer = two_hosts();
        let mut routes = Routes::new().unwrap();
        resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        run("ip neigh flush dev wire");
        resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        assert!(neighbour().contains("managed"), "{}", neighbour());
    });
}

#[test]
fn the_smallest_mtu_counts() {
    in_namespace(|| {
        let _peer = two_hosts();
        let mut routes = Routes::new().unwrap();
        let mut mtu = |destination: &str| {
            let source = if destination.contains(':') { "::" } else { "0.0.0.0" };
            resolved(&mut routes, destination, source).mtu
        };
        run("ip link set wire mtu 1400");
        assert_eq!(mtu("10.0.0.2"), 1400);
        assert_eq!(mtu("fd00::2"), 1400);
        run("ip route add 10.0.0.2 dev wire mtu 1300");
        run("ip route add fd00::2 dev wire mtu 1290");
        assert_eq!(mtu("10.0.0.2"), 1300);
        assert_eq!(mtu("fd00::2"), 1290);
        run("ip route replace 10.0.0.2 dev wire mtu 9000");
        assert_eq!(mtu("10.0.0.2"), 1400);
        run("ip route del fd00::2 dev wire");
        sysctl("net/ipv6/conf/wire/mtu", 1280);
        assert_eq!(mtu("fd00::2"), 1280);
        assert_eq!(mtu("10.0.0.2"), 1400);
    });
}

#[test]
fn every_kind_of_change_gives_a_tick() {
    in_namespace(|| {
        let peer = two_hosts();
        peer.join("second");
        let mut changes = Ticks::new();
        for command in [
            "ip link set wire mtu 1400",
            "ip addr add 10.9.0.1/24 dev wire",
            "ip addr add fd09::1/64 dev wire",
            "ip route add 192.0.2.0/24 via 10.0.0.2",
            "ip route add 2001:db8::/32 via fd00::2",
            "ip rule add from 10.9.0.1 lookup 100",
            "ip -6 rule add from fd09::1 lookup 100",
            "ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev wire",
            "ip link set second down",
            "ip link del second",
        ] {
            changes.quiet();
            run(command);
            assert!(changes.any_in(Duration::from_secs(5)), "{command}");
        }
    });
}

#[test]
fn a_route_by_another_interface_gives_a_tick_and_a_new_answer() {
    in_namespace(|| {
        let peer = two_hosts();
        peer.join("second");
        run("ip addr add 10.1.0.1/24 dev second");
        peer.run("ip addr add 10.1.0.2/24 dev second");
        run("ip route add 192.0.2.0/24 via 10.0.0.2");
        let mut routes = Routes::new().unwrap();
        let before = resolved(&mut routes, "192.0.2.1", "0.0.0.0");
        assert_eq!(before.interface, index("wire"));
        let mut changes = Ticks::new();
        changes.quiet();
        run("ip route replace 192.0.2.0/24 via 10.1.0.2");
        changes.next();
        let after = resolved(&mut routes, "192.0.2.1", "0.0.0.0");
        assert_eq!(after.interface, index("second"));
        assert_eq!(after.destination_mac, peer.mac("second"));
        assert_ne!(after.source_mac, before.source_mac);
        // Once from the time before, and then no more.
        routes.release_unused();
        resolved(&mut routes, "192.0.2.1", "0.0.0.0");
        routes.release_unused();
        assert!(!neighbour().contains("managed"), "{}", neighbour());
    });
}

#[test]
fn links_without_carrier_are_down() {
    in_namespace(|| {
        let peer = two_hosts();
        let mut routes = Routes::new().unwrap();
        resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        let mut changes = Ticks::new();
        changes.quiet();
        peer.run("ip link set wire down");
        changes.next();
        unresolved(&mut routes, "10.0.0.2", "10.0.0.1", "interface down");
        peer.run("ip link set wire up");
        resolved(&mut routes, "10.0.0.2", "10.0.0.1");
        run("ip link set wire down");
        assert_eq!(reason(&mut routes, "10.0.0.2", "10.0.0.1"), "no route");
    });
}

#[test]
fn interfaces_are_listed_with_all_that_is_known() {
    in_namespace(|| {
        let _peer = two_hosts();
        run("ip link add bridge type bridge");
        let interfaces = Routes::new().unwrap().interfaces().unwrap();
        let interface = |name: &str| interfaces.iter().find(|i| i.name == name).unwrap();
        assert_eq!(interface("lo").kind.as_deref(), Some("loopback"));
        assert_eq!(interface("lo").mac, None);
        assert_eq!(interface("lo").addresses, [ip("127.0.0.1"), ip("::1")]);
        assert_eq!(interface("bridge").kind.as_deref(), Some("bridge"));
        assert!(!interface("bridge").up);
        let wire = interface("wire");
        assert_eq!(wire.kind.as_deref(), Some("veth"));
        assert_eq!((wire.index, wire.mac, wire.mtu), (index("wire"), Some(mac("wire")), 1500));
        assert!(wire.up);
        assert!(wire.addresses.contains(&ip("10.0.0.1")), "{:?}", wire.addresses);
        assert!(wire.addresses.contains(&ip("fd00::1")), "{:?}", wire.addresses);
    });
}

#[test]
fn a_veth_can_transmit_when_its_peer_can_receive() {
    in_namespace(|| {
        if std::process::Command::new("ethtool").arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "CI has to have ethtool");
            eprintln!("skipped: needs ethtool");
            return;
        }
        let peer = two_hosts();
        let mut routes = Routes::new().unwrap();
        let mut features = |name: &str| {
            let interfaces = routes.interfaces().unwrap();
            interfaces.into_iter().find(|interface| interface.name == name).unwrap().xdp
        };
        // Before Linux 6.3 the kernel does not tell.
        let Some(wire) = features("wire") else { return };
        assert_eq!(wire, XdpFeatures { native: true, redirect: true, transmit: false });
        assert_eq!(features("lo"), Some(XdpFeatures::default()));
        peer.run("ethtool -K wire gro on");
        let with_gro = XdpFeatures { native: true, redirect: true, transmit: true };
        assert_eq!(features("wire"), Some(with_gro));
    });
}

#[test]
fn a_burst_of_changes_is_few_ticks_and_loss_is_one() {
    in_namespace(|| {
        let _peer = two_hosts();
        let mut changes = Ticks::new();
        changes.quiet();
        // More than the socket's buffer holds.
        let routes: Vec<_> = (0..20_000u32)
            .map(|number| format!("route add 11.{}.{}.0/24 dev wire\n", number / 256, number % 256))
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, routes.concat()).unwrap();
        run(&format!("ip -batch {}", file.path().display()));
        changes.next();
        assert!(changes.quiet() < 10);
        run("ip link set wire mtu 1400");
        changes.next();
    });
}

/// [`Changes`] for tests that do not run in tokio.
struct Ticks {
    runtime: tokio::runtime::Runtime,
    changes: Changes,
}

impl Ticks {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let changes = runtime.block_on(async { Changes::watch().unwrap() });
        Self { runtime, changes }
    }

    /// Waits for the next tick, which has to come before one without a change would.
    fn next(&mut self) {
        assert!(self.any_in(Duration::from_secs(9)), "no tick");
    }

    /// Waits until there are no more ticks, and counts them.
    fn quiet(&mut self) -> usize {
        let ticks = (0..100).take_while(|_| self.any_in(Duration::from_millis(100))).count();
        assert!(ticks < 100, "there is no end of ticks");
        ticks
    }

    fn any_in(&mut self, time: Duration) -> bool {
        let Self { runtime, changes } = self;
        runtime.block_on(async { timeout(time, changes.changed()).await.is_ok() })
    }
}
