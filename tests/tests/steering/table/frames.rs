//! What is around the message.

use common::reason::PassUp;
use ipfix_balancer_tests::frame::Frame;

use super::super::case::{Case, Daemon, Packet, Verdict, flow, flow_of};
use super::super::world::{Hook, World};

const FIRST: Verdict = Verdict::One { to: 0, number: 100 };
const BY_DAEMON: Daemon = Daemon::One { to: 0, number: 100 };

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, world) in [("IPv4", World::round_robin(2)), ("IPv6", World::round_robin(2).v6())] {
        cases.push(forwarded("a VLAN tag", name, &world, |frame| frame.vlan(100), &[Hook::Xdp]));
        cases.push(forwarded("padding", name, &world, |frame| frame.padding(7), Hook::ALL));
        cases.push(forwarded("the last hop", name, &world, |frame| frame.ttl(1), Hook::ALL));
        cases.push(forwarded("no priority", name, &world, |frame| frame.tos(0), Hook::ALL));
        cases.push(service_tag(name, &world));
        cases.push(tag_at_tc(name, &world));
        cases.push(up("a fragment", name, &world, first_fragment, PassUp::Fragment));
        cases.push(ignored("a later fragment", name, &world, later_fragment));
        cases.push(ignored("two VLAN tags", name, &world, |frame| frame.vlan(100).vlan(200)));
        cases.push(ignored("TCP", name, &world, |frame| frame.protocol(6)));
        cases.push(cut("cut in the message header", name, &world, 15));
        cases.push(cut("cut before the UDP header", name, &world, -8));
        cases.push(lying_udp_length("too short", name, &world, 40));
        cases.push(lying_udp_length("too long", name, &world, 2000));
        cases.push(missing_octets(name, &world));
        cases.push(short_datagram(name, &world));
    }
    let v4 = World::round_robin(2);
    cases.push(up("IP options", "IPv4", &v4, |frame| frame.ip_options(&[1; 4]), PassUp::IpOptions));
    let most = |frame: Frame| frame.ip_options(&[1; 40]);
    cases.push(up("the most IP options", "IPv4", &v4, most, PassUp::IpOptions));
    cases.push(forwarded("don't fragment", "IPv4", &v4, Frame::dont_fragment, Hook::ALL));
    let extension = |frame: Frame| frame.ip_options(&[1, 4, 0, 0, 0, 0]);
    cases.push(ignored("an extension header", "IPv6", &World::round_robin(2).v6(), extension));
    cases.push(not_ip());
    cases.push(segments());
    cases
}

fn case(what: &str, name: &str, world: &World) -> Case {
    Case::new(format!("{what}, {name}"), world.clone())
}

fn forwarded(
    what: &str,
    name: &str,
    world: &World,
    change: impl FnOnce(Frame) -> Frame,
    hooks: &'static [Hook],
) -> Case {
    let message = flow_of(5010, 61);
    let frame = change(world.frame(&message));
    case(what, name, world).only(hooks).forwarded(frame, message, FIRST)
}

fn up(
    what: &str,
    name: &str,
    world: &World,
    change: impl FnOnce(Frame) -> Frame,
    reason: PassUp,
) -> Case {
    let frame = Packet::Frame(change(world.frame(&flow(5010))));
    case(what, name, world).step(frame, flow(5010), Verdict::Up(reason), BY_DAEMON)
}

/// What is not surely a message of a session is none of our business.
fn ignored(what: &str, name: &str, world: &World, change: impl FnOnce(Frame) -> Frame) -> Case {
    let frame = change(world.frame(&flow(5010)));
    let packet = Packet::Frame(frame);
    case(what, name, world).step(packet, flow(5010), Verdict::Ignored, Daemon::NotAsked)
}

fn first_fragment(frame: Frame) -> Frame {
    frame.identification(77).fragment(0, true)
}

fn later_fragment(frame: Frame) -> Frame {
    frame.identification(77).fragment(1480, false)
}

/// An outer tag alone, of the type that IEEE 802.1ad gives it.
fn service_tag(name: &str, world: &World) -> Case {
    let mut frame = world.frame(&flow(5010)).vlan(0x6064).build().unwrap_or_default();
    if let Some(ether_type) = frame.get_mut(12..14) {
        ether_type.copy_from_slice(&[0x88, 0xa8]);
    }
    case("a service tag", name, world).only(&[Hook::Xdp]).step(
        Packet::Raw(frame),
        flow(5010),
        FIRST,
        BY_DAEMON,
    )
}

/// The kernel has taken a frame's tag out of it before: what is still there is a second one.
fn tag_at_tc(name: &str, world: &World) -> Case {
    ignored("a tag behind the tag", name, world, |frame| frame.vlan(100)).only(Hook::TC)
}

/// A frame that ends so many octets after the UDP header.
fn cut(what: &str, name: &str, world: &World, after: isize) -> Case {
    let mut frame = world.frame(&flow(5010)).build().unwrap_or_default();
    frame.truncate((14 + world.headers()).saturating_add_signed(after));
    case(what, name, world).step(Packet::Raw(frame), flow(5010), Verdict::Ignored, Daemon::NotAsked)
}

fn lying_udp_length(what: &str, name: &str, world: &World, length: u16) -> Case {
    let frame = world.frame(&flow(5010)).udp_length(length);
    case(&format!("a UDP length that is {what}"), name, world).step(
        Packet::Frame(frame),
        flow(5010),
        Verdict::Up(PassUp::Lengths),
        Daemon::NotAsked,
    )
}

fn missing_octets(name: &str, world: &World) -> Case {
    let mut frame = world.frame(&flow(5010)).build().unwrap_or_default();
    frame.pop();
    case("a frame that misses an octet", name, world).step(
        Packet::Raw(frame),
        flow(5010),
        Verdict::Up(PassUp::Lengths),
        Daemon::NotAsked,
    )
}

/// Too short for a message header: its session can't be known.
fn short_datagram(name: &str, world: &World) -> Case {
    let frame = Packet::Frame(world.frame(&[0; 15]));
    case("15 octets", name, world).step(frame, vec![0; 15], Verdict::Ignored, Daemon::Invalid)
}

fn not_ip() -> Case {
    let mut frame = World::round_robin(2).frame(&flow(5010)).build().unwrap_or_default();
    if let Some(ether_type) = frame.get_mut(12..14) {
        ether_type.copy_from_slice(&[0x08, 0x06]);
    }
    let case = Case::new("ARP", World::round_robin(2));
    case.step(Packet::Raw(frame), flow(5010), Verdict::Ignored, Daemon::NotAsked)
}

/// As GRO makes them. Whatever they hold, each one is a datagram.
fn segments() -> Case {
    let case = Case::new("three datagrams in a packet", World::round_robin(2)).only(Hook::TC);
    let frame = Packet::Frame(case.world.frame(&flow(5010)));
    case.step(frame, flow(5010), Verdict::Up(PassUp::Gso), Daemon::NotAsked)
        .last(|step| step.segments = 3)
}
