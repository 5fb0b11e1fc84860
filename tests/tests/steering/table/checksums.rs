//! Every form of a checksum.

use common::reason::PassUp;
use ipfix_balancer_tests::frame::{Checksum, Frame};
use ipfix_balancer_tests::wire;

use super::super::case::{Case, Daemon, Packet, Verdict, content, flow_of, message};
use super::super::world::{FLOW, Hook, World};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        wrong_header_checksum(),
        sum_of_ones_going_out(),
        sum_of_ones_coming_in(),
        looks_partial(),
        looks_partial_at_tc(),
    ];
    for (name, world) in [("IPv4", World::round_robin(2)), ("IPv6", World::round_robin(2).v6())] {
        for octets in [60, 61, 1400, 1401] {
            cases.push(complete(name, &world, octets));
            cases.push(absent(name, &world, octets));
            cases.push(wrong(name, &world, octets));
            cases.push(partial_at_xdp(name, &world, octets));
            cases.push(partial_at_tc(name, &world, octets));
        }
    }
    cases
}

fn case(what: &str, name: &str, world: &World, octets: usize) -> (Case, Vec<u8>) {
    let name = format!("{what}, {name}, set of {octets} octets");
    (Case::new(name, world.clone()), flow_of(5010, octets))
}

fn given(case: Case, message: Vec<u8>, change: impl FnOnce(Frame) -> Frame) -> Case {
    let frame = change(case.world.frame(&message));
    case.forwarded(frame, message, Verdict::One { to: 0, number: 100 })
}

fn complete(name: &str, world: &World, octets: usize) -> Case {
    let (case, message) = case("a complete checksum", name, world, octets);
    given(case, message, |frame| frame)
}

/// IPv6 does not allow that: whoever receives such a datagram drops it, and so does the collector.
fn absent(name: &str, world: &World, octets: usize) -> Case {
    let (case, message) = case("no checksum", name, world, octets);
    given(case, message, |frame| frame.checksum(Checksum::Zero))
}

/// It must not become right by us.
fn wrong(name: &str, world: &World, octets: usize) -> Case {
    let (case, message) = case("a wrong checksum", name, world, octets);
    given(case, message, |frame| frame.checksum(Checksum::Wrong))
}

fn partial_at_xdp(name: &str, world: &World, octets: usize) -> Case {
    let (case, message) = case("a partial checksum at XDP", name, world, octets);
    let frame = case.world.frame(&message).checksum(Checksum::Partial);
    let daemon = Daemon::One { to: 0, number: 100 };
    let verdict = Verdict::Up(PassUp::PartialChecksum);
    case.only(&[Hook::Xdp]).step(Packet::Frame(frame), message, verdict, daemon)
}

/// A test run can't say that the checksum is to be completed: this one is just wrong.
fn partial_at_tc(name: &str, world: &World, octets: usize) -> Case {
    let (case, message) = case("a partial checksum at TC", name, world, octets);
    given(case.only(Hook::TC), message, |frame| frame.checksum(Checksum::Partial))
}

fn wrong_header_checksum() -> Case {
    let case = Case::new("a wrong checksum of the IPv4 header", World::round_robin(2));
    given(case, flow_of(5010, 60), Frame::wrong_header_checksum)
}

/// The checksum of a frame's datagram.
fn checksum(frame: &Frame) -> u16 {
    frame.build().ok().and_then(|frame| wire::u16_at(&frame, 40)).unwrap_or_default()
}

/// A message with a word at its end that, in this frame, gives the datagram this checksum.
fn with_checksum(wanted: u16, number: u32, frame: impl Fn(&[u8]) -> Frame) -> Vec<u8> {
    let with = |word: u16| {
        let content = [content(58), word.to_be_bytes().to_vec()].concat();
        message(number).set(FLOW, &content).build()
    };
    // The word makes up for the difference, in ones' complement.
    let (sum, carry) = checksum(&frame(&with(0))).overflowing_add(!wanted);
    let mut message = with(sum + u16::from(carry));
    common::message::set_sequence(&mut message, 5010);
    message
}

/// The sum of all words is ones: the checksum is 0, and is written as ones.
fn sum_of_ones_going_out() -> Case {
    let world = World::round_robin(2);
    let frame = |message: &[u8]| Frame::udp(world.source(0), world.collector(0), message);
    let message = with_checksum(0, 100, frame);
    given(Case::new("a checksum that becomes 0", world), message, |frame| frame)
}

fn sum_of_ones_coming_in() -> Case {
    let world = World::round_robin(2);
    let message = with_checksum(0, 5010, |message| world.frame(message));
    given(Case::new("a checksum that is 0", world), message, |frame| frame)
}

/// A message whose complete checksum is that of a partial one.
fn deceptive(world: &World) -> Vec<u8> {
    let partial = checksum(&world.frame(&flow_of(5010, 60)).checksum(Checksum::Partial));
    with_checksum(partial, 5010, |message| world.frame(message))
}

/// One in 65,536 does: the daemon sends it as any other.
fn looks_partial() -> Case {
    let world = World::round_robin(2);
    let message = deceptive(&world);
    let case = Case::new("a complete checksum that looks partial", world).only(&[Hook::Xdp]);
    let daemon = Daemon::One { to: 0, number: 100 };
    case.up(message, PassUp::PartialChecksum, daemon)
}

/// The kernel knows better than to look at it.
fn looks_partial_at_tc() -> Case {
    let world = World::round_robin(2);
    let message = deceptive(&world);
    let case = Case::new("a complete checksum that looks partial, at TC", world);
    given(case.only(Hook::TC), message, |frame| frame)
}

#[test]
fn checksums_are_what_they_are_made_to_be() {
    let world = World::round_robin(2);
    let message = with_checksum(0, 5010, |message| world.frame(message));
    assert_eq!(checksum(&world.frame(&message)), u16::MAX);
    let frame = world.frame(&deceptive(&world));
    assert_eq!(checksum(&frame), checksum(&frame.clone().checksum(Checksum::Partial)));
    assert_eq!(Frame::parse(&frame.build().unwrap()).unwrap().udp_checksum, Checksum::Right);
}
