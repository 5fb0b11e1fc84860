//! A whole session: an exporter that keeps to the RFC, destinations that come and go, and judges that share
//! no line with the balancer. The same world as in the workspace's property tests, with a fuzzer at the wheel.
//! Input: the setting, then four bytes for each event.

use balancer_user::config::{Mode, Protocol};

use exporter::Event;
use world::{Setting, World};

#[allow(dead_code, reason = "random events are for the property tests")]
#[path = "../../tests/tests/properties/exporter.rs"]
mod exporter;
#[path = "../../tests/tests/properties/world.rs"]
mod world;

/// Events of one input: more make it slow, and find nothing that fewer would not.
const MAX_EVENTS: usize = 200;

/// Runs one input.
pub fn run(input: &[u8]) {
    let Some((form, events)) = input.split_first_chunk() else { return };
    let setting = setting(form);
    let mode = setting.mode;
    let mut world = World::new(setting);
    for bytes in events.as_chunks().0.iter().take(MAX_EVENTS) {
        world.happen(&event(bytes));
    }
    world.settle();
    world.check_decodable().expect("it can be decoded");
    world.check_options().expect("the latest options are everywhere");
    match mode {
        Mode::RoundRobin => {
            world.check_every_flow_once().expect("every flow arrives once");
            world.check_numbers().expect("numbers are continuous");
            world.check_turns().expect("turns are exact");
        }
        Mode::All | Mode::Disabled => {
            world.check_every_flow_everywhere().expect("every flow arrives everywhere");
            world.check_bytes().expect("bytes are passed on");
        }
    }
}

fn setting([form, count, limit, sequence, refresh]: &[u8; 5]) -> Setting {
    let protocol = |bit: u8| if form & bit == 0 { Protocol::Tcp } else { Protocol::Udp };
    Setting {
        mode: if form & 1 == 0 { Mode::RoundRobin } else { Mode::All },
        input: protocol(2),
        output: protocol(4),
        destinations: usize::from(count % 5) + 1,
        limit: if form & 8 == 0 { usize::MAX } else { 150 + usize::from(*limit) },
        first_sequence: u32::from(*sequence).wrapping_sub(8),
        refresh: u32::from(refresh % 29) + 1,
    }
}

fn event(&[what, a, b, c]: &[u8; 4]) -> Event {
    let scope = u32::from(c % 4);
    let (a, b, c) = (usize::from(a), usize::from(b), usize::from(c));
    let (domain, template, destination) = (a % exporter::DOMAINS, b % exporter::TEMPLATES, a % 5);
    match what % 20 {
        0..=6 => Event::Flow { domain, template, records: c % 5 + 1 },
        7 => Event::LostFlow { domain, records: c % 5 + 1 },
        8 | 9 => Event::Mixed { domain, template, records: c % 3 + 1, options: c / 4 % 2 + 1 },
        10 | 11 => Event::Options { domain, records: b % 3 + 1, scope },
        12 => Event::Templates { domain },
        13 => Event::Redefine { domain, template },
        14 => Event::Withdraw { domain, template },
        15 => Event::Empty { domain },
        16 => Event::Break { destination },
        17 => Event::Return { destination },
        18 => Event::Stall { destination },
        _ => Event::Resume { destination },
    }
}
