//! Arbitrary texts, and arbitrary configurations.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::config::{
    params::{self, Kind, Param},
    text::{lines, value},
};

/// Pieces that make up files, right and wrong ones.
const PIECES: &[&str] = &[
    "IPFIX_",
    "FULLFLOW",
    "CLICKSTREAM",
    "_",
    "PORT",
    "BALANCER_SUB",
    "TASKSET",
    "EXPORT",
    "[",
    "]",
    "0",
    "1",
    "=",
    "=",
    "\n",
    "\n",
    "\r\n",
    "\"",
    "'",
    "\\",
    "$",
    "{",
    "}",
    "#",
    " ",
    ",",
    "/",
    ":",
    "-",
    ".",
    "::1",
    "tcp",
    "All",
    "localhost",
    "1500",
    "export ",
    "\u{feff}",
    "\u{fffd}",
    "ж",
    "\0",
];

fn text() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(select(PIECES), 0..60).prop_map(|pieces| pieces.concat());
    prop_oneof![pieces, any::<String>(), Just(EXAMPLE.to_owned())]
}

fn destination() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
        any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string()),
        "[a-z][a-z0-9-]{0,8}[a-z]\\.example",
    ];
    (host, 20_000_u16..).prop_map(|(host, port)| format!("{host}/{port}"))
}

fn list(element: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::hash_set(element, 1..6)
        .prop_map(|elements| elements.into_iter().collect::<Vec<_>>().join(", "))
}

/// A valid value of a parameter.
fn valid(param: &'static Param) -> BoxedStrategy<String> {
    match param.kind {
        Kind::Address => {
            select(vec!["::1", "127.0.0.1", "[2001:db8::20]"]).prop_map(str::to_owned).boxed()
        }
        Kind::Choice(words) => select(words).prop_map(str::to_owned).boxed(),
        Kind::Command => "/[ -~]{0,30}".boxed(),
        Kind::Copies => {
            let copy = (destination(), select(Protocol::NAMES));
            list(copy.prop_map(|(address, protocol)| format!("{address}/{protocol}"))).boxed()
        }
        Kind::Cpus => list((0..64_u8).prop_map(|cpu| cpu.to_string())).boxed(),
        Kind::Destinations => list(destination()).boxed(),
        Kind::Listen => "127\\.0\\.0\\.[1-9]:[1-9][0-9]{3}".boxed(),
        Kind::Networks => list(
            (any::<std::net::Ipv4Addr>(), 0..=32_u8)
                .prop_map(|(ip, length)| format!("{ip}/{length}")),
        )
        .boxed(),
        Kind::Number { min, max, .. } => (min..=max).prop_map(|number| number.to_string()).boxed(),
        Kind::Path => "/[ -~]{0,20}[a-z]".boxed(),
        Kind::Word => "[a-z][a-z0-9-]{0,10}".boxed(),
    }
}

/// In single quotes unless that can't be: the value is then taken literally.
fn quote(value: &str) -> String {
    if value.contains('\'') {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{escaped}\"")
    } else {
        format!("'{value}'")
    }
}

fn assignments() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let count = params::all().count();
    prop::sample::subsequence((0..count).collect::<Vec<_>>(), 0..=count)
        .prop_flat_map(|chosen| {
            let params = params::all().enumerate().filter(move |(i, _)| chosen.contains(i));
            let pairs = params.map(|(_, param)| (Just(param.name), valid(param)));
            pairs.collect::<Vec<_>>()
        })
        .prop_shuffle()
}

proptest! {
    #[test]
    fn never_panics(text in text()) {
        let joined: String = lines(&text).iter().map(|line| line.raw).collect();
        prop_assert_eq!(&joined, &text);
        if let Err(faults) = parse(&text) {
            prop_assert!(!faults.faults.is_empty());
            let shown = faults.to_string();
            prop_assert_eq!(shown.lines().count(), faults.faults.len(), "{}", shown);
        }
    }

    #[test]
    fn other_programs_files_have_no_faults(text in "([A-Z]{1,3}[ \\[\\]=\"'$\\\\#a-z]{0,20}\n){0,9}") {
        prop_assert!(parse(&text).is_ok());
    }

    #[test]
    fn unquoted_values_are_literal(text in "[!-~&&[^#\"']]([ -~&&[^#]]{0,30}[!-~&&[^#]])?") {
        prop_assert_eq!(value(&text), Ok(text));
    }

    #[test]
    fn quoted_values_are_literal(text in "([!-~]([ -~]{0,30}[!-~])?)?") {
        prop_assert_eq!(value(&quote(&text)), Ok(text));
    }

    #[test]
    fn configurations_round_trip(assignments in assignments()) {
        let key = |name: &str| format!("IPFIX_FULLFLOW_{name}[5]");
        let text: String = assignments
            .iter()
            .map(|(name, value)| format!("{}={}\n", key(name), quote(value)))
            .collect();
        // What is left of random values may be refused as a whole: no subreceivers, TCP.
        let first = assess(Path::new(".env"), &text, &machine());
        prop_assume!(first.faults.is_empty() && !first.receivers.is_empty());
        let again: String = first.receivers[0]
            .iter()
            .filter(|setting| setting.origin != receivers::Origin::Default)
            .map(|setting| format!("{}={}\n", key(&setting.key), quote(&setting.value)))
            .collect();
        // Nothing of it had an effect: the plain receiver is left.
        let again = if again.is_empty() { format!("{}=-1\n", key("DPI_ID")) } else { again };
        let second = assess(Path::new(".env"), &again, &machine());
        prop_assert_eq!(&second.faults, &[], "{}", again);
        prop_assert_eq!(second.config, first.config);
    }
}
