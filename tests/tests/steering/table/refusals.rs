//! Sessions that are not there, and ways that are not.

use common::maps::{FROM_HOST, FROM_TC, FROM_XDP};
use common::reason::PassUp;
use ipfix_balancer_tests::exporter::Message;
use ipfix_balancer_tests::frame::Frame;

use super::super::case::{Case, Daemon, Packet, Verdict, content, flow};
use super::super::world::{DOMAIN, FLOW, Hook, World};

const BY_DAEMON: Daemon = Daemon::One { to: 0, number: 100 };

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        unknown("for all addresses", World::round_robin(2)),
        unknown("for all addresses, IPv6", World::round_robin(2).v6()),
        unknown("for this address", World::round_robin(2).with(|world| world.bound = true)),
        other_domain(),
        other_exporter(),
        other_port(),
        other_address(),
        unsynced(),
        another_is_unsynced(),
        too_large(),
        as_large_as_the_way(),
        too_large_for_the_next(),
        no_such_cpu(),
    ];
    let hooks: [(&'static [Hook], u32); 3] = [
        (&[Hook::Xdp], FROM_TC | FROM_HOST),
        (&[Hook::Ingress], FROM_XDP | FROM_HOST),
        (&[Hook::Host], FROM_XDP | FROM_TC),
    ];
    cases.extend(hooks.map(|(hooks, reach)| no_way(hooks, reach)));
    cases
}

fn up(case: Case, frame: Frame, datagram: Vec<u8>, reason: PassUp) -> Case {
    case.step(Packet::Frame(frame), datagram, Verdict::Up(reason), Daemon::NotAsked)
}

fn unknown(listener: &str, world: World) -> Case {
    let world = world.with(|world| world.known = false);
    let case = Case::new(format!("a new exporter, a receiver {listener}"), world);
    let frame = case.world.frame(&flow(5010));
    up(case, frame, flow(5010), PassUp::UnknownSession)
}

fn other_domain() -> Case {
    let case = Case::new("a new observation domain", World::round_robin(2));
    let message = Message::new(DOMAIN + 0x1_0000, 5010).set(FLOW, &content(60)).build();
    let frame = case.world.frame(&message);
    up(case, frame, message, PassUp::UnknownSession)
}

fn other_exporter() -> Case {
    let case = Case::new("another exporter with the same port", World::round_robin(2));
    let mut exporter = case.world.exporter();
    exporter.set_ip(case.world.collector(3).ip());
    let frame = Frame::udp(exporter, case.world.receiver(), &flow(5010));
    up(case, frame, flow(5010), PassUp::UnknownSession)
}

fn other_port() -> Case {
    let case = Case::new("a port without receiver", World::round_robin(2));
    let mut receiver = case.world.receiver();
    receiver.set_port(4740);
    let packet = Packet::Frame(Frame::udp(case.world.exporter(), receiver, &flow(5010)));
    case.step(packet, flow(5010), Verdict::Ignored, Daemon::NotAsked)
}

fn other_address() -> Case {
    let world = World::round_robin(2).with(|world| world.bound = true);
    let case = Case::new("an address that the receiver is not bound to", world);
    let mut receiver = case.world.receiver();
    receiver.set_ip(case.world.source(0).ip());
    let packet = Packet::Frame(Frame::udp(case.world.exporter(), receiver, &flow(5010)));
    case.step(packet, flow(5010), Verdict::Ignored, Daemon::NotAsked)
}

/// Whose turn it is has everything, and yet: the daemon is to hand over what the other misses.
fn unsynced() -> Case {
    let world = World::round_robin(2).with(|world| world.unsynced = 0b10);
    Case::new("a destination misses templates", world).up(flow(5010), PassUp::Unsynced, BY_DAEMON)
}

fn another_is_unsynced() -> Case {
    let world = World::round_robin(3).with(|world| {
        world.unsynced = 0b10;
        world.takers = 0b101;
    });
    let case = Case::new("one that takes no turn misses templates", world);
    case.flow(5010, 0, 100).flow(5020, 2, 310)
}

/// The daemon cuts it between records of four octets.
fn too_large() -> Case {
    let world = World::round_robin(2).with(|world| world.mtu = 107);
    let all = content(60);
    let piece =
        |number, records: &[u8]| (0, Message::new(DOMAIN, number).set(FLOW, records).build());
    let (first, rest) = all.split_at_checked(56).unwrap_or_default();
    Case::new("larger than the way takes", world).up(
        flow(5010),
        PassUp::Mtu,
        Daemon::Sends(vec![piece(100, first), piece(114, rest)]),
    )
}

fn as_large_as_the_way() -> Case {
    let world = World::round_robin(2).v6().with(|world| world.mtu = 48 + 80);
    Case::new("just as large as the way takes", world).flow(5010, 0, 100).flow(5020, 1, 210)
}

/// Nothing of the other destination matters.
fn too_large_for_the_next() -> Case {
    let world = World::round_robin(2).with(|world| {
        world.mtu = 68;
        world.state.turn = 1;
    });
    Case::new("larger than another's way takes", world).flow(5010, 1, 210)
}

/// The receiver's CPU is not there: nothing can be moved to it.
fn no_such_cpu() -> Case {
    let world = World::round_robin(2).with(|world| world.cpu = 1 << 20);
    let case = Case::new("a CPU that is not there", world).only(&[Hook::Xdp]);
    case.up(flow(5010), PassUp::Refused, BY_DAEMON)
}

fn no_way(hooks: &'static [Hook], reach: u32) -> Case {
    let world = World::round_robin(2).with(|world| world.reach = reach);
    let case = Case::new(format!("no way from {hooks:?}"), world).only(hooks);
    case.up(flow(5010), PassUp::NoRoute, BY_DAEMON)
}
