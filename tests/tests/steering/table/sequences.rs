//! Sequence numbers.

use super::super::case::Case;
use super::super::world::World;

pub fn cases() -> Vec<Case> {
    vec![
        incoming_wrap(),
        outgoing_wrap(),
        restart(),
        reordering(),
        loss(),
        loss_before_the_first(),
        never_counts(),
        repeated(),
    ]
}

fn incoming_wrap() -> Case {
    let world = World::round_robin(2).with(|world| world.state.line.credited = u32::MAX - 5);
    Case::new("the exporter's numbers wrap", world)
        .flow(u32::MAX - 2, 0, 100)
        .flow(4, 1, 203)
        .flow(10, 0, 107)
}

fn outgoing_wrap() -> Case {
    let world = World::round_robin(2).v6().with(|world| {
        world.state.outgoing = [0; 16];
        world.state.outgoing[0] = u32::MAX;
        world.state.outgoing[1] = u32::MAX - 3;
    });
    Case::new("a destination's numbers wrap", world)
        .flow(5010, 0, u32::MAX)
        .flow(5011, 1, 6)
        .flow(5012, 0, 0)
}

/// The jump back is credited as what it is modulo 2^32, and everything is right from there on.
fn restart() -> Case {
    let jump = 0_u32.wrapping_sub(5020);
    Case::new("the exporter starts anew", World::round_robin(2))
        .flow(5010, 0, 100)
        .flow(5020, 1, 210)
        .flow(0, 0, 110)
        .flow(10, 1, 210_u32.wrapping_add(jump))
        .flow(20, 0, 120)
}

fn reordering() -> Case {
    Case::new("messages out of order", World::round_robin(2))
        .flow(5000, 0, 100)
        .flow(5020, 1, 200)
        .flow(5010, 0, 120)
        .flow(5030, 1, 190)
        .flow(5040, 0, 140)
}

fn loss() -> Case {
    Case::new("messages lost before us", World::round_robin(3))
        .flow(5000, 0, 100)
        .flow(6000, 1, 200)
        .flow(6010, 2, 300)
        .flow(6020, 0, 1100)
}

fn loss_before_the_first() -> Case {
    Case::new("messages lost before the first", World::fresh(2)).flow(5008, 0, 8).flow(5010, 1, 0)
}

fn never_counts() -> Case {
    Case::new("an exporter that never counts", World::round_robin(2))
        .flow(5000, 0, 100)
        .flow(5000, 1, 200)
        .flow(5000, 0, 100)
}

fn repeated() -> Case {
    Case::new("a datagram that came twice", World::round_robin(2))
        .flow(5005, 0, 100)
        .flow(5005, 1, 205)
        .flow(5010, 0, 100)
}
