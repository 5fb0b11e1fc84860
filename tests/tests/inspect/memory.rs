//! Memory does not grow with the file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::Command;

use ipfix_balancer_tests::daemon::{self, outcome};
use ipfix_balancer_tests::exporter::Flows;

use crate::{DONE, Files};

/// Address space of the program, most of which its code and libraries take.
const LIMIT_KIB: usize = 40 << 10;
const FILE_BYTES: usize = 64 << 20;

#[test]
fn a_file_larger_than_the_memory_is_read() {
    let files = Files::new().unwrap();
    let path = files.0.path().join("large.ipfix");
    let mut out = BufWriter::new(File::create(&path).unwrap());
    let mut flows = Flows::new(1);
    let mut written = 0;
    while written < FILE_BYTES {
        let session = flows.session(4, 1400).concat();
        out.write_all(&session).unwrap();
        written += session.len();
    }
    out.into_inner().unwrap().sync_all().unwrap();
    let limited = |options: &str| {
        let command = format!("ulimit -v {LIMIT_KIB}; exec \"$0\" inspect {options} \"$1\"");
        let mut shell = Command::new("sh");
        outcome(shell.arg("-c").arg(command).arg(daemon::binary().unwrap()).arg(&path)).unwrap()
    };
    let summary = limited("--summary");
    assert_eq!((summary.code, summary.stderr.as_str()), (DONE, ""));
    let expected = format!("flow records {} ", flows.sequence());
    assert!(summary.stdout.contains(&expected), "{expected} not in {}", summary.stdout);
    // Everything is decoded on the way to the last template.
    let text = limited("--template 65535");
    assert_eq!((text.code, text.stdout.lines().count()), (DONE, 1), "{text:?}");
}
