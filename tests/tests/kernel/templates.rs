//! Templates and options in the middle of a stream that does not pause: they go up, and what
//! comes after them must not get ahead.

use anyhow::Result;
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, available};

use crate::scene::{Scene, Stream};

const ROUNDS: usize = 60;
const SMALL: usize = 12;

/// Flow records under an id that means now this, now that.
struct Changing {
    definitions: [Flows; 2],
    now: usize,
}

impl Changing {
    const ID: u16 = 300;

    fn new(domain: u32) -> Self {
        // The second kind of template of the one has the id of the first kind of the other.
        let definitions =
            [Flows::with_ids(domain, Self::ID), Flows::with_ids(domain, Self::ID - 1)];
        Self { definitions, now: 0 }
    }

    /// The message that gives the id its other meaning.
    fn change(&mut self) -> Vec<u8> {
        let sequence = self.sequence();
        self.now = 1 - self.now;
        let [plain, named] = &mut self.definitions;
        match self.now {
            0 => {
                *plain = plain.clone().starting_at(sequence);
                plain.message().template(plain.plain()).build()
            }
            _ => {
                *named = named.clone().starting_at(sequence);
                named.message().template(named.named()).build()
            }
        }
    }

    fn data(&mut self, count: usize) -> Vec<u8> {
        let [plain, named] = &mut self.definitions;
        if self.now == 0 { plain.data(count) } else { named.named_data(count, 30) }
    }

    fn sequence(&self) -> u32 {
        let [plain, named] = &self.definitions;
        if self.now == 0 { plain.sequence() } else { named.sequence() }
    }
}

/// The definition changes every `every` messages. With a small window the daemon keeps up, and the
/// session goes to and fro between the two paths; with a large one it does not.
fn redefinition(lab: &Lab, mode: Mode, every: usize, window: usize) -> Result<()> {
    let family = if window < SMALL { Family::V4 } else { Family::V6 };
    let mut scene = Scene::new(lab, mode, family)?;
    scene.window = window;
    let mut flows = Changing::new(5);
    let mut stream = scene.stream()?;
    stream.common(flows.change())?;
    scene.setup.wait_until_up()?;
    stream.settle(|| flows.data(2))?;
    for _ in 0..ROUNDS {
        stream.common(flows.change())?;
        stream.data((0..every).map(|index| flows.data(1 + index % 5)))?;
    }
    stream.settle(|| flows.data(2))?;
    // What is in flight with a template goes up after it.
    scene.judge(&[&stream], if window < SMALL { ROUNDS * every / 4 } else { 1 })
}

fn redefinitions(mode: Mode) -> Result<()> {
    if available() {
        let lab = Lab::new(3)?;
        for (every, window) in [(40, 6), (15, 100)] {
            redefinition(&lab, mode, every, window)?;
        }
    }
    Ok(())
}

#[test]
fn round_robin_follows_templates_redefined_under_load() {
    redefinitions(Mode::RoundRobin).unwrap();
}

#[test]
fn all_follows_templates_redefined_under_load() {
    redefinitions(Mode::All).unwrap();
}

/// Flow data with options data, mixed messages, templates repeated, in between.
fn varied(stream: &mut Stream<'_>, flows: &mut Flows) -> Result<()> {
    for round in 0..ROUNDS {
        match round % 4 {
            0 => stream.common(flows.options_data(2))?,
            1 => stream.mixed(flows.mixed(2))?,
            2 => stream.common(flows.templates())?,
            _ => stream.data([flows.named_data(2, 20)])?,
        }
        stream.data((0..30).map(|index| flows.data(1 + index % 5)))?;
    }
    Ok(())
}

#[test]
fn options_and_mixed_messages_reach_everybody_under_load() {
    if !available() {
        return;
    }
    let lab = Lab::new(3).unwrap();
    for mode in [Mode::RoundRobin, Mode::All] {
        let mut scene = Scene::new(&lab, mode, Family::V4).unwrap();
        scene.window = SMALL;
        let mut flows = Flows::new(5);
        let mut stream = scene.stream().unwrap();
        stream.begin(&mut flows).unwrap();
        varied(&mut stream, &mut flows).unwrap();
        scene.judge(&[&stream], ROUNDS * 30 / 4).unwrap();
    }
}

/// Flow data under an id that shares its last eight bits with an options template's.
#[test]
fn flow_data_that_looks_like_options_is_flow_data() {
    if !available() {
        return;
    }
    let lab = Lab::new(2).unwrap();
    let scene = Scene::new(&lab, Mode::RoundRobin, Family::V4).unwrap();
    // 258 are options, and so 514 goes up.
    let mut flows = Flows::with_ids(1, 256);
    let mut stream = scene.stream().unwrap();
    stream.begin(&mut flows).unwrap();
    let mut others = Flows::with_ids(1, 514).starting_at(flows.sequence());
    stream.common(others.message().template(others.plain()).build()).unwrap();
    stream.data((0..20).map(|_| others.data(3))).unwrap();
    let up = scene.status().unwrap().passed_up("options_data");
    assert!(up >= 10, "{up}");
    scene.judge(&[&stream], 1).unwrap();
}
