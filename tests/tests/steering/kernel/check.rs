//! Runs a case in the kernel, and compares.

use std::fmt::Debug;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::frame::{Checksum, Frame, Parsed};

use super::super::case::{Case, Packet, Step, Verdict};
use super::super::world::{Hook, World, interface_mac, next_hop};
use super::run::Arrival;
use super::{Counters, Kernel, RECEIVER, Ran, SESSION, after};

/// Octets that a packet's copies are told what they are by: its number, session, receiver.
const NOTE: usize = 12;
/// In the first byte of an Ethernet address: it is a group's, as no sender's can be. By this copies and
/// finished packets are told from each other.
const GROUP: u8 = 1;
/// Time to live of what we send.
const TTL: u8 = 64;

/// Runs a case at one hook.
pub fn check(kernel: &mut Kernel, hook: Hook, case: &Case) -> Result<()> {
    kernel.enter(&case.world)?;
    for (number, step) in case.steps.iter().enumerate() {
        check_step(kernel, hook, &case.world, step)
            .with_context(|| format!("{}, {hook:?}, packet {number}", case.name))?;
    }
    Ok(())
}

fn check_step(kernel: &mut Kernel, hook: Hook, world: &World, step: &Step) -> Result<()> {
    let frame = step.packet.build()?;
    let before = (kernel.state()?, Counters::read(kernel)?);
    let arrival = Arrival { frame: &frame, segments: step.segments };
    let ran = kernel.run(hook, arrival)?;
    same("return code", &ran.code, &code(hook, world, &step.verdict))?;
    let number = before.0.forwarded.wrapping_add(1);
    check_frame(hook, world, step, &frame, &ran, number)?;
    same("state", &kernel.state()?, &after::state(&before.0, step)?)?;
    let counted = Counters::read(kernel)?.since(&before.1);
    same("counters", &counted, &after::counters(world, hook, step))
}

impl Packet {
    /// The octets.
    pub fn build(&self) -> Result<Vec<u8>> {
        match self {
            Self::Frame(frame) => frame.build(),
            Self::Raw(frame) => Ok(frame.clone()),
        }
    }
}

fn same<T: Debug + PartialEq>(what: &str, got: &T, expected: &T) -> Result<()> {
    ensure!(got == expected, "{what}:\n   is {got:?}\n  not {expected:?}");
    Ok(())
}

/// As `linux/bpf.h` and `linux/pkt_cls.h` number them.
fn code(hook: Hook, world: &World, verdict: &Verdict) -> u32 {
    let (go_on, drop, redirect) = match hook {
        Hook::Xdp => (2, 1, 4),
        Hook::Ingress | Hook::Host => (u32::MAX, 2, 7),
    };
    match verdict {
        // To a collector on this host a packet at `lo` goes the way it was going.
        Verdict::One { .. } | Verdict::Everyone if world.local => go_on,
        Verdict::One { .. } | Verdict::Everyone | Verdict::Moved => redirect,
        Verdict::Up(_) | Verdict::Ignored => go_on,
        Verdict::Overload => drop,
    }
}

fn check_frame(
    hook: Hook,
    world: &World,
    step: &Step,
    arrived: &[u8],
    ran: &Ran,
    number: u32,
) -> Result<()> {
    match (&step.verdict, hook) {
        (Verdict::One { to, number }, _) => {
            check_ours(world, *to, arrived, &ran.frame, |payload| {
                common::message::set_sequence(payload, *number);
            })
        }
        (Verdict::Everyone, Hook::Xdp) => check_original(arrived, &ran.frame, number),
        // All but the last one are copies, which a test run does not show.
        (Verdict::Everyone, _) => {
            check_ours(world, world.destinations - 1, arrived, &ran.frame, |_| {})
        }
        _ => same("untouched packet", &ran.frame, &arrived.to_vec()),
    }
}

/// A packet that was made ours, on its way to a destination.
fn check_ours(
    world: &World,
    to: usize,
    arrived: &[u8],
    sent: &[u8],
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<()> {
    let mut expected = Frame::parse(arrived)?;
    expected.source_mac = interface_mac(to);
    expected.target_mac = next_hop(to);
    expected.source = world.source(to);
    expected.target = world.collector(to);
    expected.ttl = TTL;
    expected.vlans.clear();
    change(&mut expected.payload);
    let mut sent = Frame::parse(sent).context("what was sent")?;
    // The rest of a sum may look like anything; it must not look right.
    let was_right = matches!(expected.udp_checksum, Checksum::Right | Checksum::Zero);
    if !was_right && sent.udp_checksum != Checksum::Right {
        sent.udp_checksum = expected.udp_checksum;
    }
    same::<Parsed>("packet", &sent, &expected)
}

/// The packet that copies are made of: a note to them in the place of the Ethernet addresses, and all
/// but the VLAN tag as it was. `number` is the message's in its session.
fn check_original(arrived: &[u8], sent: &[u8], number: u32) -> Result<()> {
    let parsed = Frame::parse(arrived)?;
    let message_len = u16::try_from(parsed.payload.len())?;
    let words = [
        u16::try_from(SESSION)?.to_ne_bytes(),
        [GROUP, u8::try_from(RECEIVER)?],
        message_len.to_ne_bytes(),
        u16::from(parsed.source.is_ipv6()).to_ne_bytes(),
    ];
    let note = [&number.to_ne_bytes()[..], &words.concat()].concat();
    same("note", &sent.get(..NOTE), &Some(&note[..]))?;
    let content = |frame: &[u8], skipped: usize| frame.get(skipped + NOTE..).map(<[u8]>::to_vec);
    same("original", &content(sent, 0), &content(arrived, parsed.vlans.len() * 4))
}
