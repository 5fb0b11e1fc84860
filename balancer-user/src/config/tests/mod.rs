//! Whole files: what they mean, and what is said about them.

mod cross;
mod docs;
mod faults;
mod files;
mod forms;
mod launched;
mod notes;
mod random;

use std::path::Path;

use super::*;

/// The documented example, byte for byte.
const EXAMPLE: &str = include_str!("../../../tests/data/example.env");

/// A machine with 64 CPUs.
fn machine() -> Environment {
    Environment {
        cpus: (0..64).collect(),
        local_addresses: vec!["10.19.3.20".parse().unwrap(), "2001:db8::20".parse().unwrap()],
        local_names: vec!["balancer.example.net".to_owned()],
    }
}

fn parse(text: &str) -> Result<Checked, Faults> {
    Config::parse(Path::new("test/.env"), text, &machine())
}

/// The receivers of a text without faults.
fn receivers(text: &str) -> Vec<Receiver> {
    let checked = parse(text).unwrap_or_else(|faults| panic!("{faults}\n\nin\n{text}"));
    checked.config.receivers.iter().map(|receiver| Receiver::clone(receiver)).collect()
}

/// The one receiver of a text without faults.
fn receiver(text: &str) -> Receiver {
    let mut receivers = receivers(text);
    assert_eq!(receivers.len(), 1, "{text}");
    receivers.remove(0)
}

/// The faults of a text, without the file name.
fn faults(text: &str) -> Vec<String> {
    let faults = parse(text).map(|_| panic!("no fault in\n{text}")).unwrap_err().faults;
    faults.iter().map(|f| f.to_string().replacen("test/.env:", "", 1)).collect()
}

/// The notes of a text without faults, without the file name.
fn notes(text: &str) -> Vec<String> {
    let notes = parse(text).unwrap_or_else(|faults| panic!("{faults}")).notes;
    notes.iter().map(|n| n.to_string().replacen("test/.env:", "", 1)).collect()
}
