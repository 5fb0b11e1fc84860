//! docs/bpf-maps.md: every map, field and reason, with its size and place.

use std::{any::type_name, mem::offset_of};

use aya_obj::{Object, generated::bpf_map_type};
use common::{
    handover,
    maps::{
        ABI, ALL, ANY_CPU, Destination, DestinationCounters, Domain, FROM_HOST, FROM_TC, FROM_XDP,
        Flow, Listener, MAX_DESTINATIONS, MAX_DOMAINS, MAX_INTERFACES, MAX_RECEIVERS, MAX_SESSIONS,
        ROUND_ROBIN, Receiver, Session, Source,
    },
    reason::{PassUp, ReceiverCounters},
    sequence::{FIRST, GONE, Sequence},
};

use super::{document, one_line};
use crate::kernel::{MAPS, object::OBJECT};

type Handover = handover::Handover<u32>;

const DOCUMENT: &str = "bpf-maps.md";

/// What key and value of each map are called.
const KEYS_AND_VALUES: [(&str, &str, &str); 15] = [
    ("BROADCASTS", "receiver", "map"),
    ("COPIES", "interface", "`Copies`"),
    ("CPUS", "CPU", "queue and program"),
    ("DESTINATIONS", "place", "`Destination`"),
    ("DESTINATION_COUNTERS", "receiver × 16 + destination", "`DestinationCounters`"),
    ("DEVICES", "interface", "interface and program"),
    ("DOMAINS", "place", "`Domain`"),
    ("EGRESS_DROPS", "interface", "`u64`"),
    ("EVICTIONS", "0", "`u32`"),
    ("FLOWS", "`Flow`", "`u32`"),
    ("LISTENERS", "`Listener`", "`u32`"),
    ("RECENT", "hash of a key of `FLOWS`", "`Recent`"),
    ("RECEIVERS", "place", "`Receiver`"),
    ("RECEIVER_COUNTERS", "receiver", "`ReceiverCounters`"),
    ("SESSIONS", "place", "`Session`"),
];

/// A struct's fields as the document has them, without their meaning. A field that is not listed
/// does not compile.
macro_rules! fields {
    ($name:ident { $($field:ident),+ }) => {{
        let _all = |$name { $($field: _),+ }: $name| ();
        let fields = vec![
            $(row(offset_of!($name, $field), stringify!($field), |it: &$name| &it.$field)),+
        ];
        (stringify!($name), fields)
    }};
}

fn row<S, F>(offset: usize, name: &str, _: fn(&S) -> &F) -> String {
    let mut kind = type_name::<F>().replace("<u32>", "");
    for path in ["common::handover::", "common::maps::", "common::sequence::"] {
        kind = kind.replace(path, "");
    }
    format!("| {offset} | `{name}` | `{kind}` |")
}

/// The rows of the tables below a heading, up to the next one.
fn rows<'a>(document: &'a str, heading: &str) -> Vec<&'a str> {
    let below = document.lines().skip_while(|line| *line != heading).skip(1);
    let section = below.take_while(|line| !line.starts_with('#'));
    section.filter(|line| line.starts_with('|')).skip(2).collect()
}

fn assert_rows(heading: &str, expected: &[String]) {
    let document = document(DOCUMENT);
    let rows = rows(&document, heading);
    assert_eq!(rows.len(), expected.len(), "{heading}: {rows:?}");
    for (row, expected) in rows.iter().zip(expected) {
        assert!(row.starts_with(expected), "{heading}: {row}\ninstead of {expected}");
    }
}

#[test]
fn every_map_is_documented_with_its_kind_sizes_and_places() {
    let object = Object::parse(OBJECT).unwrap();
    let names = KEYS_AND_VALUES.map(|(name, ..)| name);
    assert_eq!(names, MAPS);
    let document = document(DOCUMENT);
    let documented = rows(&document, "## Maps");
    assert_eq!(documented.len(), MAPS.len());
    for (name, key, value) in KEYS_AND_VALUES {
        let map = object.maps.get(name).unwrap();
        let row = format!(
            "| `{name}` | {} | {key}, {} bytes | {value}, {} bytes | {} |",
            kind(map.map_type()),
            map.key_size(),
            map.value_size(),
            map.max_entries(),
        );
        assert!(documented.iter().any(|documented| documented.starts_with(&row)), "no {row}");
    }
}

/// The name that `bpftool` has for it.
fn kind(number: u32) -> String {
    let kind = bpf_map_type::try_from(number).ok();
    format!("{:?}", kind.unwrap()).trim_start_matches("BPF_MAP_TYPE_").to_lowercase()
}

#[test]
fn every_field_is_documented_with_its_place_and_type() {
    let structs = [
        fields!(Flow { source, destination, source_port, destination_port, domain }),
        fields!(Listener { address, port, zeros }),
        fields!(Domain { session, synced, options, line, outgoing }),
        fields!(Sequence { credited, holder }),
        fields!(Session {
            handover,
            shut,
            receiver,
            takers,
            turn,
            forwarded,
            zeros,
            sources,
            mark
        }),
        fields!(Handover { lock, passed, marked, mark_number, handled, wanted }),
        fields!(Source { address, port, zeros }),
        fields!(Receiver { mode, destinations, cpu, places }),
        fields!(Destination {
            address,
            port,
            next_hop,
            interface_mac,
            zeros,
            interface,
            mtu,
            reach,
            local
        }),
        fields!(DestinationCounters { messages, bytes }),
    ];
    for (name, fields) in structs {
        assert_rows(&format!("### `{name}`"), &fields);
    }
}

#[test]
fn every_counter_and_reason_to_pass_up_is_documented() {
    type Counters = ReceiverCounters;
    let counters = [
        row(offset_of!(Counters, messages), "messages", |it: &Counters| &it.messages),
        row(offset_of!(Counters, bytes), "bytes", |it: &Counters| &it.bytes),
        row(offset_of!(Counters, overload), "overload", |it: &Counters| &it.overload),
    ];
    assert_rows("### `ReceiverCounters`", &counters);
    let reasons = PassUp::ALL.map(|reason| {
        let byte = (Counters::FIRST_PASS_UP + reason.index()) * size_of::<u64>();
        format!("| {byte} | `{}` | {} |", reason.as_str(), reason.meaning())
    });
    assert_rows("## Why a datagram is passed up", &reasons);
}

#[test]
fn limits_and_special_values_are_those_of_the_code() {
    let document = document(DOCUMENT);
    let text = one_line(&document);
    for said in [
        format!("/sys/fs/bpf/ipfix-balancer/<instance>/v{ABI}/"),
        format!(
            "up to {MAX_RECEIVERS} receivers with up to {MAX_DESTINATIONS} destinations each, and up to \
             {MAX_SESSIONS} exporter sessions with together {MAX_DOMAINS} observation domains"
        ),
        format!("(receiver × {MAX_DESTINATIONS} + destination) × 2"),
        format!("Interfaces numbered {MAX_INTERFACES} or higher"),
        format!("{ROUND_ROBIN}: RoundRobin, {ALL}: All"),
        format!("the first CPU of `TASKSET`; {ANY_CPU}: any"),
        format!("{FIRST}: none yet, {GONE}: it is no more"),
        format!("{FROM_XDP} from XDP, {FROM_TC} from TC at ingress, {FROM_HOST} from this host"),
    ] {
        assert!(text.contains(&said), "docs/{DOCUMENT} lacks: {said}");
    }
    let limit = format!("for more than {MAX_DESTINATIONS} destinations");
    assert!(one_line(&super::document("../README.md")).contains(&limit), "README.md: {limit}");
}
