//! What is in the message.

use balancer_user::session::Refusal;
use common::message::{HEADER_LEN, SET_HEADER_LEN};
use common::reason::PassUp;
use ipfix_balancer_tests::exporter::{Field, Message, Template};

use super::super::case::{Case, Daemon, content, flow, flow_of, message};
use super::super::world::{DOMAIN, FLOW, World};

/// As many sets as the programs look at.
const MAX_SETS: usize = 64;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        many_sets("all that fit", MAX_SETS),
        too_many_sets(),
        reserved_ids(),
        options_data(),
        options_id_modulo_256(),
        options_data_last(),
        no_sets(),
        template(),
        template_before_data(),
        options_template(),
        two_messages(),
        trailing_octets(),
        cut_message(),
        header_too_short(),
        largest(),
    ];
    cases.extend((1..=9).map(lengths));
    cases.extend([2, 3, 20].map(|sets| many_sets("several", sets)));
    cases.extend([(9, "NetFlow 9"), (5, "NetFlow 5"), (11, "IPFIX of the future")].map(version));
    cases.extend(bad_sets());
    cases
}

/// Odd lengths and short messages: one checksum word is half outside, frames are padded.
fn lengths(octets: usize) -> Case {
    let case = Case::new(format!("a set of {octets} octets"), World::round_robin(2));
    let message = flow_of(5003, octets);
    let padded = case.world.frame(&message).padding(60_usize.saturating_sub(42 + message.len()));
    case.one(flow_of(5001, octets), 0, 100)
        .forwarded(padded, message, super::Verdict::One { to: 1, number: 201 })
        .one(flow_of(5005, 1400 + octets), 0, 102)
}

/// The sets grow from none to a few octets of content.
fn sets(count: usize) -> Message {
    let octets = (0..count).map(|number| if count > 100 { 0 } else { number % 7 });
    octets.fold(message(5010), |message, octets| message.set(FLOW + 4, &content(octets)))
}

fn many_sets(what: &str, count: usize) -> Case {
    Case::new(format!("{what}: {count} sets"), World::round_robin(2)).one(
        sets(count).build(),
        0,
        100,
    )
}

fn too_many_sets() -> Case {
    let world = World::round_robin(2).with(|world| world.mtu = 2000);
    let sets = sets(MAX_SETS + 1).build();
    Case::new("more sets than are looked at", world).up(
        sets,
        PassUp::Sets,
        Daemon::One { to: 0, number: 100 },
    )
}

/// Not assigned (RFC 7011 section 3.3.2): no business of ours.
fn reserved_ids() -> Case {
    let ids = [0, 1, 4, 255, 65_535];
    let sets = ids.iter().fold(message(5010), |message, id| message.set(*id, &content(8)));
    Case::new("ids of sets that are not assigned", World::round_robin(2)).one(sets.build(), 0, 100)
}

fn options_data() -> Case {
    // Two records of two fields with four octets.
    let data = message(5010).set(400, &content(16)).build();
    let each = Daemon::Each(vec![100, 210]);
    Case::new("options data", World::round_robin(2)).up(data, PassUp::OptionsData, each)
}

/// 400 and 656 have one bit in common.
fn options_id_modulo_256() -> Case {
    let data = message(5010).set(656, &content(16)).build();
    Case::new("flow data whose id is like that of options", World::round_robin(2))
        .one(message(5000).set(399, &content(16)).set(401, &content(16)).build(), 0, 100)
        .up(data, PassUp::OptionsData, Daemon::One { to: 1, number: 200 })
}

fn options_data_last() -> Case {
    let (flows, options) = (content(60), content(8));
    let mixed = message(5010).set(FLOW, &flows).set(400, &options).build();
    let copy = Message::new(DOMAIN, 210).set(400, &options).build();
    let whole = Message::new(DOMAIN, 100).set(FLOW, &flows).set(400, &options).build();
    Case::new("options data behind flow data", World::round_robin(2)).up(
        mixed,
        PassUp::OptionsData,
        Daemon::Sends(vec![(1, copy), (0, whole)]),
    )
}

/// It is passed on, but it takes no turn.
fn no_sets() -> Case {
    let daemon = Daemon::One { to: 0, number: 100 };
    Case::new("a header without sets", World::round_robin(2)).up(
        message(5010).build(),
        PassUp::NoSets,
        daemon,
    )
}

fn templates(template: &Template) -> Vec<u8> {
    message(5010).template(template).build()
}

fn template() -> Case {
    let bytes = templates(&Template::data(300, [Field::iana(8, 4)]));
    let each = Daemon::Each(vec![100, 210]);
    Case::new("a template", World::round_robin(2)).up(bytes, PassUp::Template, each)
}

fn options_template() -> Case {
    let bytes = templates(&Template::options(300, 1, [Field::iana(10, 4), Field::iana(82, 4)]));
    let each = Daemon::Each(vec![100, 200, 310]);
    Case::new("an options template", World::round_robin(3).v6()).up(bytes, PassUp::Template, each)
}

/// Also when the template is in the last set.
fn template_before_data() -> Case {
    let template = Template::data(300, [Field::iana(8, 4)]);
    let mixed = message(5010).set(FLOW, &content(60)).template(&template);
    let mut whole = mixed.build();
    common::message::set_sequence(&mut whole, 100);
    let copy = Message::new(DOMAIN, 210).template(&template).build();
    Case::new("a template behind flow data", World::round_robin(2)).up(
        mixed.build(),
        PassUp::Template,
        Daemon::Sends(vec![(1, copy), (0, whole)]),
    )
}

fn two_messages() -> Case {
    let numbered = |number| flow_of(number, 60);
    Case::new("two messages in a datagram", World::round_robin(2)).up(
        [flow(5010), flow(5020)].concat(),
        PassUp::Lengths,
        Daemon::Sends(vec![(0, numbered(100)), (1, numbered(210))]),
    )
}

fn trailing_octets() -> Case {
    let datagram = [flow(5010), vec![0; 3]].concat();
    Case::new("octets after the message", World::round_robin(2)).up(
        datagram,
        PassUp::Lengths,
        Daemon::Invalid,
    )
}

fn cut_message() -> Case {
    let mut datagram = flow(5010);
    datagram.truncate(50);
    Case::new("a message that is cut", World::round_robin(2)).up(
        datagram,
        PassUp::Lengths,
        Daemon::Invalid,
    )
}

fn header_too_short() -> Case {
    let datagram = message(5010).length(15).build();
    Case::new("a length below that of the header", World::round_robin(2)).up(
        datagram,
        PassUp::Lengths,
        Daemon::Invalid,
    )
}

/// All that a frame of the usual size carries.
fn largest() -> Case {
    let octets = 1500 - 48 - HEADER_LEN - SET_HEADER_LEN;
    let large = flow_of(5010, octets);
    Case::new("a message as large as the way takes", World::round_robin(2).v6()).one(large, 0, 100)
}

fn version((version, name): (u16, &str)) -> Case {
    let other = message(5010).version(version).set(FLOW, &content(20)).build();
    let case = Case::new(format!("version {version}, {name}"), World::round_robin(2));
    case.up(other, PassUp::Version, Daemon::Invalid)
}

/// Sets that do not add up.
fn bad_sets() -> Vec<Case> {
    let good = || message(5010).set(FLOW, &content(20));
    let messages = [
        ("longer than the message", good().set_claiming(FLOW, 25, &content(20))),
        ("shorter than its header", good().set_claiming(FLOW, 3, &content(20))),
        ("of no length", good().set_claiming(FLOW, 0, &[])),
        ("whose header is cut", good().length(16 + 24 + 3)),
        ("before others, too long", message(5010).set_claiming(FLOW, 60, &content(8))),
    ];
    let case = |(name, message): (&str, Message)| {
        let mut bytes = message.build();
        let claimed = ipfix_balancer_tests::wire::length(&bytes).unwrap_or_default();
        bytes.resize(claimed, 1);
        let case = Case::new(format!("a set {name}"), World::round_robin(2));
        case.up(bytes, PassUp::Sets, Daemon::Invalid)
    };
    let mut cases: Vec<_> = messages.into_iter().map(case).collect();
    let nobody = World::round_robin(2).with(|world| world.takers = 0);
    cases.push(Case::new("nobody takes a turn", nobody).up(
        flow(5010),
        PassUp::NoDestination,
        Daemon::Refuses(Refusal::NoDestination),
    ));
    cases
}
