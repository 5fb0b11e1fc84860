//! What README and documents show of `cargo xtask`: that there is such a command.

use clap::Parser;
use ipfix_balancer_tests::documents::commands;

use crate::Cli;

#[test]
fn every_command_that_is_shown_is_known() {
    let mut known = 0;
    for shown in commands().unwrap() {
        let Some(arguments) = shown.command.strip_prefix("cargo xtask ") else { continue };
        let parsed = Cli::try_parse_from(["xtask"].into_iter().chain(words(arguments)));
        assert!(parsed.is_ok(), "{shown:?}: {}", parsed.err().unwrap());
        known += 1;
    }
    assert!(known > 0);
}

/// The words of a command line, one in single quotes among them.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let parts = line.split('\'').enumerate();
    parts.flat_map(|(place, part)| match place % 2 {
        0 => part.split_whitespace().collect(),
        _ => vec![part],
    })
}
