//! Whose turn it is.

use common::maps::MAX_DESTINATIONS;
use common::sequence::GONE;

use super::super::case::{Case, flow};
use super::super::world::{Hook, World};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![passed_over(), wrapped_turn(), only_the_last(), gone(), places(), local()];
    for destinations in 1..=MAX_DESTINATIONS {
        cases.push(from_the_first_message(destinations));
        cases.push(in_the_middle(destinations));
    }
    cases
}

/// Every message has 10 records. The first one's are the first destination's, and so on.
fn from_the_first_message(destinations: usize) -> Case {
    let name = format!("turns from the first message on, {destinations} destinations");
    let world = World::fresh(destinations).v6();
    (0..2 * destinations + 1).zip(0..).fold(Case::new(name, world), |case, (number, round)| {
        let given = u32::try_from(number / destinations).unwrap_or(u32::MAX);
        case.flow(5000 + 10 * round, number % destinations, 10 * given)
    })
}

fn in_the_middle(destinations: usize) -> Case {
    let name = format!("turns in the middle of a session, {destinations} destinations");
    let world = World::round_robin(destinations);
    let outgoing = world.state.outgoing;
    let last = destinations - 1;
    let targets = (0..destinations).chain(0..destinations).zip(1..);
    targets.fold(Case::new(name, world), |case, (to, round)| {
        // What came before the first of these messages are the last destination's.
        let had = u32::from(to == last)
            + u32::from(usize::try_from(round).is_ok_and(|round| round > destinations));
        let number = outgoing.get(to).copied().unwrap_or_default() + 7 * had;
        case.flow(5000 + 7 * round, to, number)
    })
}

fn passed_over() -> Case {
    let world = World::round_robin(5).with(|world| world.takers = 0b10110);
    Case::new("destinations that take no turn", world)
        .flow(5004, 1, 200)
        .flow(5008, 2, 300)
        .flow(5012, 4, 504)
        .flow(5016, 1, 204)
}

fn wrapped_turn() -> Case {
    let world = World::round_robin(3).with(|world| world.state.turn = 3);
    Case::new("the turn after the last one's", world).flow(5001, 0, 100).flow(5002, 1, 200)
}

fn only_the_last() -> Case {
    let world = World::round_robin(16).with(|world| {
        world.takers = 1 << 15;
        world.state.turn = 16;
    });
    Case::new("the last of 16 alone", world).flow(5001, 15, 1601).flow(5002, 15, 1602)
}

fn gone() -> Case {
    let world = World::round_robin(2).with(|world| world.state.line.holder = GONE);
    Case::new("who had the last message is no more", world).flow(5050, 0, 100).flow(5060, 1, 200)
}

fn places() -> Case {
    let world = World::round_robin(2).with(|world| world.second_place = 0b01);
    Case::new("ways in either place", world).flow(5000, 0, 100).flow(5000, 1, 200)
}

/// At `lo` the packet goes on, with new addresses.
fn local() -> Case {
    let world = World::round_robin(2).with(|world| world.local = true);
    let case = Case::new("collectors on this host", world).only(&[Hook::Host]);
    case.one(flow(5001), 0, 100).one(flow(5002), 1, 201)
}
