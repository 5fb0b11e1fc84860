//! Whatever an exporter sends, and whatever state it meets: programs and router give every message
//! to the same destination, with the same bytes.

use anyhow::{Context, Result, ensure};
use common::maps::MAX_DESTINATIONS;
use common::sequence::{FIRST, Sequence};
use ipfix_balancer_tests::exporter::{Field, Message, Template};
use ipfix_balancer_tests::frame::{Checksum, Frame};
use ipfix_balancer_tests::lab::available;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::case::{content, message};
use super::kernel::{Arrival, Kernel};
use super::userspace::{Outcome, Userspace};
use super::world::{FLOW, Hook, State, World};

/// The options template of every world.
const OPTIONS: u16 = 400;
/// Octets of an options record: two fields of four.
const OPTIONS_RECORD: usize = 8;

/// What happens in a session.
#[derive(Clone, Debug)]
enum Event {
    /// A message of flow data comes.
    Flow { sets: Vec<usize>, records: u32, hook: Hook, checksum: Checksum },
    /// The exporter's next number is another one: loss, reordering, a new start.
    Jump(u32),
    /// A message of templates comes.
    Template,
    /// A message with so many options records comes.
    Options(usize),
    /// Other destinations take turns from now on.
    Takers(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let hook = proptest::sample::select(Hook::ALL);
    let checksum = prop_oneof![3 => Just(Checksum::Right), 1 => Just(Checksum::Zero)];
    let flow = (prop::collection::vec(0_usize..150, 1..=8), 0_u32..40, hook, checksum);
    let near_wrap = prop_oneof![Just(0), Just(u32::MAX), Just(u32::MAX - 20), any::<u32>()];
    prop_oneof![
        12 => flow.prop_map(|(sets, records, hook, checksum)| {
            Event::Flow { sets, records, hook, checksum }
        }),
        2 => near_wrap.prop_map(Event::Jump),
        1 => Just(Event::Template),
        1 => (1_usize..5).prop_map(Event::Options),
        1 => any::<u32>().prop_map(Event::Takers),
    ]
}

prop_compose! {
    /// A session in any state that it may be in.
    fn world()(
        destinations in 1_usize..=MAX_DESTINATIONS,
        v6 in any::<bool>(),
        credited in any::<u32>(),
        holder in any::<prop::sample::Index>(),
        turn in any::<prop::sample::Index>(),
        fresh in prop::bool::weighted(0.2),
        outgoing in any::<[u32; MAX_DESTINATIONS]>(),
        second_place in any::<u32>(),
        takers in any::<u32>(),
    ) -> World {
        let mut world = World::round_robin(destinations).with(|world| {
            world.second_place = second_place;
            world.takers = some_of(takers, world.takers);
            world.state.turn = number(turn.index(destinations));
            world.state.outgoing = [0; MAX_DESTINATIONS];
            world.state.line = Sequence { credited, holder: FIRST };
        });
        if !fresh {
            world.state.line.holder = number(holder.index(destinations));
            world.state.outgoing = outgoing;
            world.state.outgoing.iter_mut().skip(destinations).for_each(|number| *number = 0);
        }
        if v6 { world.v6() } else { world }
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Those of `all` that are chosen; the last of them where none is.
fn some_of(chosen: u32, all: u32) -> u32 {
    if chosen & all == 0 { all & !(all >> 1) } else { chosen & all }
}

/// Programs and router, side by side.
struct Pair<'a> {
    kernel: &'a mut Kernel,
    userspace: Userspace,
    world: World,
    /// Every destination.
    all: u32,
    /// Number of the exporter's next message.
    sequence: u32,
}

impl<'a> Pair<'a> {
    fn new(kernel: &'a mut Kernel, world: World) -> Result<Self> {
        kernel.enter(&world)?;
        let userspace = Userspace::of(&world)?;
        let all = u32::MAX >> (32 - world.destinations);
        let sequence = world.state.line.credited;
        let pair = Self { kernel, userspace, world, all, sequence };
        pair.compare_states(&pair.world.state.clone()).context("replay")?;
        Ok(pair)
    }

    fn happen(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Flow { sets, records, hook, checksum } => {
                self.forward(sets, *hook, *checksum)?;
                self.sequence = self.sequence.wrapping_add(*records);
            }
            Event::Jump(sequence) => self.sequence = *sequence,
            Event::Template => {
                let template = Template::data(300, [Field::iana(8, 4)]);
                self.go_up(message(self.sequence).template(&template).build())?;
            }
            Event::Options(records) => {
                let content = content(records * OPTIONS_RECORD);
                self.go_up(message(self.sequence).set(OPTIONS, &content).build())?;
                self.sequence = self.sequence.wrapping_add(number(*records));
            }
            Event::Takers(takers) => {
                self.world.takers = some_of(*takers, self.all);
                self.userspace.set_takers(self.world.takers);
                let state = self.kernel.state()?;
                self.kernel.set_state(&self.world, &state)?;
            }
        }
        Ok(())
    }

    /// Flow data: both have to send the same.
    fn forward(&mut self, sets: &[usize], hook: Hook, checksum: Checksum) -> Result<()> {
        let add = |message: Message, octets: &usize| message.set(FLOW, &content(*octets));
        let message = sets.iter().fold(message(self.sequence), add).build();
        let frame = self.world.frame(&message).checksum(checksum).build()?;
        let ran = self.kernel.run(hook, Arrival { frame: &frame, segments: 1 })?;
        let sent = Frame::parse(&ran.frame)?;
        ensure!(sent.header_checksum && sent.udp_checksum == checksum, "{sent:?}");
        let to = (0..self.world.destinations).find(|to| self.world.collector(*to) == sent.target);
        let to = to.with_context(|| format!("{hook:?} returned {}, {sent:?}", ran.code))?;
        ensure!(sent.source == self.world.source(to), "{sent:?}");
        let routed = self.userspace.take(&message);
        let expected = Outcome::Sent(vec![(to, sent.payload)]);
        ensure!(routed == expected, "router: {routed:?}\n kernel: {expected:?}");
        let state = self.kernel.state()?;
        self.compare_states(&state)
    }

    /// What goes up is the router's to deal with, and the program goes on from there.
    fn go_up(&mut self, message: Vec<u8>) -> Result<()> {
        let frame = self.world.frame(&message).build()?;
        let ran = self.kernel.run(Hook::Xdp, Arrival { frame: &frame, segments: 1 })?;
        ensure!(ran.frame == frame, "changed on its way up");
        let outcome = self.userspace.take(&message);
        let each = matches!(&outcome, Outcome::Sent(sent) if sent.len() == self.world.destinations);
        ensure!(each, "not to everyone: {outcome:?}");
        let mut state = self.kernel.state()?;
        (state.turn, state.line, state.outgoing) = self.userspace.progress()?;
        state.handover.handled = state.handover.passed;
        self.kernel.set_state(&self.world, &state)
    }

    /// Either of them could go on for the other.
    fn compare_states(&self, state: &State) -> Result<()> {
        let (turn, line, outgoing) = self.userspace.progress()?;
        let same = turn == state.turn % number(self.world.destinations)
            && line == state.line
            && outgoing == state.outgoing;
        ensure!(same, "router: {turn}, {line:?}, {outgoing:?}\n kernel: {state:?}");
        Ok(())
    }
}

fn run(world: World, events: &[Event]) -> Result<()> {
    let mut kernel = Kernel::shared()?;
    let mut pair = Pair::new(&mut kernel, world)?;
    for (number, event) in events.iter().enumerate() {
        pair.happen(event).with_context(|| format!("event {number}: {event:?}"))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    fn turn_by_turn(world in world(), events in prop::collection::vec(event(), 1..60)) {
        run(world, &events).map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
    }
}

#[test]
fn programs_and_router_agree_turn_by_turn() {
    if available() {
        turn_by_turn();
    }
}
