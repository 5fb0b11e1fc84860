//! Every form of a checksum.

use common::reason::PassUp;
use ipfix_balancer_tests::frame::{Checksum, Frame};
use ipfix_balancer_tests::wire;

use super::super::case::{Case, Daemon, Packet, Verdict, content, flow_of, message};
use super::super::world::{FLOW, Hook, World};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![wrong_header_checksum(), sum_of_ones_going_out(), sum_of_ones_coming_in()];
    for (name, world) in [("IPv4", World::round_robin(2)), ("IPv6", World::round_robin(2).v6())] {
        for octets in [60, 61, 1400, 1401] {
            cases.push(complete(name, &world, octets));
            cases.push(absent(name, &world, octets));
            cases.push(wrong(name, &world, octets));
            cases.push(partial_at_xdp(name, &world, octets));
            cases.push(partial_at_tc(name, &world, octets));
        }
        // Every length of what is left when words are added up, and more than one block of them.
        for rest in [0, 1, 2, 3, 63, 1300] {
            cases.push(looks_partial(name, &world, rest));
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
    let built = frame.build().ok();
    // Ethernet, IP, and six octets of UDP.
    let at =
        built.as_deref().and_then(|frame| frame.get(12)).map_or(0, |ethertype| match ethertype {
            0x86 => 14 + 40 + 6,
            _ => 14 + 20 + 6,
        });
    built.and_then(|frame| wire::u16_at(&frame, at)).unwrap_or_default()
}

/// A message with a word, `rest` octets before its end, that in this frame gives the datagram this
/// checksum.
fn with_checksum(wanted: u16, number: u32, rest: usize, frame: impl Fn(&[u8]) -> Frame) -> Vec<u8> {
    let with = |word: u16| {
        let content = [content(58), word.to_be_bytes().to_vec(), content(rest)].concat();
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
    let message = with_checksum(0, 100, 0, frame);
    given(Case::new("a checksum that becomes 0", world), message, |frame| frame)
}

fn sum_of_ones_coming_in() -> Case {
    let world = World::round_robin(2);
    let message = with_checksum(0, 5010, 0, |message| world.frame(message));
    given(Case::new("a checksum that is 0", world), message, |frame| frame)
}

/// A message whose complete checksum is that of a partial one.
fn deceptive(world: &World, rest: usize) -> Vec<u8> {
    let octets = 60 + rest;
    let partial = checksum(&world.frame(&flow_of(5010, octets)).checksum(Checksum::Partial));
    with_checksum(partial, 5010, rest, |message| world.frame(message))
}

/// One in 65,536 does, and is forwarded as any other.
fn looks_partial(name: &str, world: &World, rest: usize) -> Case {
    let name = format!("a complete checksum that looks partial, {name}, {rest} octets after it");
    let message = deceptive(world, rest);
    given(Case::new(name, world.clone()), message, |frame| frame)
}

#[test]
fn checksums_are_what_they_are_made_to_be() {
    let world = World::round_robin(2);
    let message = with_checksum(0, 5010, 0, |message| world.frame(message));
    assert_eq!(checksum(&world.frame(&message)), u16::MAX);
    for rest in 0..4 {
        let frame = world.frame(&deceptive(&world, rest));
        assert_eq!(checksum(&frame), checksum(&frame.clone().checksum(Checksum::Partial)));
        assert_eq!(Frame::parse(&frame.build().unwrap()).unwrap().udp_checksum, Checksum::Right);
    }
}
