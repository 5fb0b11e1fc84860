//! All: what every destination gets, it gets as it came.

use common::maps::MAX_DESTINATIONS;
use common::reason::PassUp;
use ipfix_balancer_tests::exporter::{Field, Template};
use ipfix_balancer_tests::lab::available;

use super::super::case::{Case, Daemon, Verdict, content, flow, flow_of, message};
use super::super::kernel::{Kernel, check};
use super::super::world::{FLOW, Hook, World};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        several_sets(),
        odd_with_tag(),
        numbers_do_not_matter(),
        up("a template", templates(), PassUp::Template),
        up("options data", message(5010).set(400, &content(16)).build(), PassUp::OptionsData),
        unsynced(),
        too_large(),
        unreachable(),
    ];
    cases.extend((1..=MAX_DESTINATIONS).map(destinations));
    cases
}

fn all(case: Case, message: Vec<u8>) -> Case {
    let frame = case.world.frame(&message);
    case.forwarded(frame, message, Verdict::Everyone)
}

fn destinations(count: usize) -> Case {
    let world = World::everyone(count);
    let world = if count.is_multiple_of(2) { world.v6() } else { world };
    let case = Case::new(format!("All with {count} destinations"), world);
    let case = all(case, flow(5010));
    all(case, flow_of(5020, 1401))
}

fn several_sets() -> Case {
    let message = message(1).set(FLOW, &content(5)).set(FLOW, &[]).set(300, &content(8)).build();
    all(Case::new("All, several sets", World::everyone(2)), message)
}

fn odd_with_tag() -> Case {
    let case = Case::new("All, a VLAN tag", World::everyone(2)).only(&[Hook::Xdp]);
    let frame = case.world.frame(&flow_of(5010, 61)).vlan(100);
    case.forwarded(frame, flow_of(5010, 61), Verdict::Everyone)
}

fn numbers_do_not_matter() -> Case {
    let case = Case::new("All, whatever the numbers", World::everyone(3));
    [0, u32::MAX, 17, 17].into_iter().fold(case, |case, number| all(case, flow(number)))
}

fn templates() -> Vec<u8> {
    message(5010).template(&Template::data(300, [Field::iana(8, 4)])).build()
}

fn up(what: &str, message: Vec<u8>, reason: PassUp) -> Case {
    let case = Case::new(format!("All, {what}"), World::everyone(2));
    case.up(message, reason, Daemon::Everyone)
}

/// The one that misses templates is the last: others may not be served alone.
fn unsynced() -> Case {
    let world = World::everyone(16).with(|world| world.unsynced = 1 << 15);
    Case::new("All, one misses templates", world).up(flow(5010), PassUp::Unsynced, Daemon::NotAsked)
}

fn too_large() -> Case {
    let world = World::everyone(2).with(|world| world.mtu = 99);
    Case::new("All, too large for one", world).up(flow(5010), PassUp::Mtu, Daemon::NotAsked)
}

fn unreachable() -> Case {
    let world = World::everyone(2).with(|world| world.reach = 0);
    Case::new("All, no way", world).up(flow(5010), PassUp::NoRoute, Daemon::Everyone)
}

/// The driver leaves no room for the note to the copies. The session was forwarded, for all that the
/// state tells: a sign of life.
#[test]
fn without_devices_for_copies_packets_go_up() {
    if !available() {
        return;
    }
    let mut kernel = Kernel::load().unwrap();
    let case = Case::new("All, no devices", World::everyone(2));
    let case = case.up(flow(5010), PassUp::Refused, Daemon::Everyone);
    check(&mut kernel, Hook::Xdp, &case).unwrap();
}
