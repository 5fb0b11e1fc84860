//! docs/security.md: what it says that a test shows.

use std::path::Path;

#[test]
fn every_threat_names_tests_that_are_there() {
    let document = super::document("security.md");
    let table = document.lines().skip_while(|line| *line != "## Threats");
    let rows: Vec<&str> = table.skip(1).take_while(|line| !line.starts_with("## ")).collect();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut named = 0;
    for row in rows.iter().filter(|row| row.starts_with("| ")) {
        let shown_by = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
        // Between backquotes, every second part; a command is no file.
        for name in shown_by.split('`').skip(1).step_by(2).filter(|name| !name.contains(' ')) {
            let folders = ["tests/tests", "fuzz/fuzz_targets"];
            let there = folders.iter().any(|folder| project.join(folder).join(name).exists());
            assert!(there, "there is no {name}");
            named += 1;
        }
    }
    assert!(named > 10, "the table is another one");
}
