//! The `.env` parser: every fault points at a line of the file, and what does not matter (a byte
//! order mark, CRLF, a comment at the end, who reads it) changes nothing.

use std::path::Path;

use balancer_user::config::{Config, Environment};

/// Runs one input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let environment = Environment { cpus: vec![0, 1], ..Environment::default() };
    let parse = |text: &str| Config::parse(Path::new("f.env"), text, &environment);
    let checked = match parse(text) {
        Ok(checked) => checked,
        Err(faults) => {
            assert!(!faults.faults.is_empty());
            let lines = text.split('\n').count();
            for fault in &faults.faults {
                assert!((1..=lines).contains(&fault.line), "{fault}");
                assert!(fault.to_string().starts_with("f.env:"));
            }
            return;
        }
    };
    let same =
        |text: &str| assert_eq!(parse(text).map(|c| c.config).ok().as_ref(), Some(&checked.config));
    if !text.starts_with('\u{feff}') {
        same(&format!("\u{feff}{text}"));
    }
    if !text.contains(['\r', '"', '\'']) {
        same(&text.replace('\n', "\r\n"));
    }
    same(&format!("{text}\n# a comment\nOTHER=kept\n"));
}
