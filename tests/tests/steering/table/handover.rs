//! Who may touch the state: the words that program and daemon share.

use common::reason::PassUp;
use ipfix_balancer_tests::exporter::{Field, Template};

use super::super::case::{Case, Daemon, Packet, Verdict, flow, flow_of, message};
use super::super::world::World;

pub fn cases() -> Vec<Case> {
    vec![
        pending(),
        behind_the_count(),
        busy(),
        busy_and_wanted(),
        busy_and_unfit(),
        marked(),
        marked_short(),
        marked_short_with_padding(),
        marked_once(),
        unfit_is_not_marked(),
        shut(),
        shut_and_wanted(),
        shut_and_unfit(),
        shut_and_busy(),
        shut_and_open(),
        count_wraps(),
    ]
}

/// Something is on its way up.
fn closed() -> World {
    World::round_robin(2).with(|world| world.state.handover.passed = 42)
}

/// The daemon has asked for a mark, as `Daemon::ask` does.
fn wanted() -> World {
    World::round_robin(2).with(|world| {
        world.state.handover.handled = 40;
        world.state.handover.wanted = 4;
    })
}

fn locked() -> World {
    World::round_robin(2).with(|world| world.state.handover.lock = 1)
}

fn first() -> Daemon {
    Daemon::One { to: 0, number: 100 }
}

fn second() -> Daemon {
    Daemon::One { to: 1, number: 210 }
}

/// The way stays shut for everything that follows.
fn pending() -> Case {
    let case = Case::new("flow data follows what went up", World::round_robin(2).v6());
    let bytes = message(5000).template(&Template::data(300, [Field::iana(8, 4)])).build();
    case.up(bytes, PassUp::Template, Daemon::Each(vec![100, 200]))
        .up(flow(5010), PassUp::Pending, Daemon::One { to: 0, number: 100 })
        .up(flow(5020), PassUp::Pending, second())
}

fn behind_the_count() -> Case {
    let world = World::round_robin(2).with(|world| world.state.handover.handled = 42);
    Case::new("the daemon has handled more", world).up(flow(5010), PassUp::Pending, first())
}

fn busy() -> Case {
    Case::new("another CPU is at work", locked()).up(flow(5010), PassUp::Busy, first()).up(
        flow(5020),
        PassUp::Busy,
        Daemon::One { to: 1, number: 210 },
    )
}

/// Only who holds the lock may write the mark.
fn busy_and_wanted() -> Case {
    let world = wanted().with(|world| world.state.handover.lock = 1);
    Case::new("another CPU is at work, a mark is wanted", world).up(
        flow(5010),
        PassUp::Busy,
        first(),
    )
}

fn busy_and_unfit() -> Case {
    let bytes = message(5010).template(&Template::data(300, [Field::iana(8, 4)])).build();
    let each = Daemon::Each(vec![100, 210]);
    Case::new("another CPU is at work, a template", locked()).up(bytes, PassUp::Template, each)
}

fn marked() -> Case {
    Case::new("a message is marked", wanted()).up(flow(5010), PassUp::Pending, first())
}

/// Of a message below 64 octets the mark is its header.
fn marked_short() -> Case {
    let case = Case::new("short messages are marked by their header", wanted());
    case.up(flow_of(5010, 43), PassUp::Pending, first())
}

/// Whatever stands behind it in the frame.
fn marked_short_with_padding() -> Case {
    let world = wanted();
    let message = flow_of(5010, 1);
    let padded = match world.frame(&message).build() {
        Ok(frame) => [frame, vec![0x5a; 60]].concat(),
        Err(_) => Vec::new(),
    };
    Case::new("padding is not marked", world).step(
        Packet::Raw(padded),
        message,
        Verdict::Up(PassUp::Pending),
        first(),
    )
}

fn marked_once() -> Case {
    let case = Case::new("the first message is marked, no later one", wanted());
    case.up(flow_of(5010, 44), PassUp::Pending, first()).up(flow(5020), PassUp::Pending, second())
}

/// Its number would say nothing: it may come up in pieces, or not at all.
fn unfit_is_not_marked() -> Case {
    let case = Case::new("only flow data are marked", wanted());
    let bytes = message(5000).template(&Template::data(300, [Field::iana(8, 4)])).build();
    case.up(bytes, PassUp::Template, Daemon::Each(vec![100, 200])).up(
        flow(5010),
        PassUp::Pending,
        Daemon::One { to: 0, number: 100 },
    )
}

fn shut_world() -> World {
    closed().with(|world| world.shut = true)
}

fn shut() -> Case {
    let case = Case::new("the daemon can't keep up", shut_world());
    let frame = case.world.frame(&flow(5010));
    let packet = Packet::Frame(frame);
    case.step(packet, flow(5010), Verdict::Overload, Daemon::NotAsked)
}

/// Else the way would stay shut.
fn shut_and_wanted() -> Case {
    let world = wanted().with(|world| world.shut = true);
    Case::new("the daemon can't keep up, and wants a mark", world).up(
        flow(5010),
        PassUp::Pending,
        first(),
    )
}

fn shut_and_unfit() -> Case {
    let bytes = message(5010).template(&Template::data(300, [Field::iana(8, 4)])).build();
    let each = Daemon::Each(vec![100, 210]);
    Case::new("the daemon can't keep up: templates", shut_world()).up(bytes, PassUp::Template, each)
}

fn shut_and_busy() -> Case {
    let world = shut_world().with(|world| world.state.handover.lock = 1);
    Case::new("the daemon can't keep up, another CPU is at work", world).up(
        flow(5010),
        PassUp::Busy,
        first(),
    )
}

/// When it has caught up, forwarding goes on.
fn shut_and_open() -> Case {
    let world = World::round_robin(2).with(|world| world.shut = true);
    Case::new("the daemon has caught up", world).flow(5010, 0, 100)
}

fn count_wraps() -> Case {
    let world = World::round_robin(2).with(|world| {
        world.state.handover.passed = u32::MAX;
        world.state.handover.handled = u32::MAX;
        world.state.handover.wanted = u32::MAX;
        world.state.handover.marked = u32::MAX;
        world.state.forwarded = 0xffff_fff0;
    });
    let bytes = message(5010).template(&Template::data(300, [Field::iana(8, 4)])).build();
    Case::new("the counts wrap", world)
        .flow(5000, 0, 100)
        .up(bytes, PassUp::Template, Daemon::Each(vec![110, 200]))
        .up(flow(5020), PassUp::Pending, Daemon::One { to: 1, number: 200 })
}
