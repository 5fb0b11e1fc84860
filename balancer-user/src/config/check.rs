//! The report behind `ipfix-balancer check`.

use std::{fmt::Display, path::Path};

use super::{assess_file, table};

/// What `ipfix-balancer check` prints, and whether the daemon would take the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The effective configuration, the notes, and all faults; ends with a line end.
    pub text: String,
    /// No faults.
    pub ok: bool,
}

/// Checks a file against this machine, without touching anything.
pub fn check(path: &Path) -> Report {
    let assessment = match assess_file(path) {
        Ok(assessment) => assessment,
        Err(error) => return Report { text: format!("{}: {error}\n", path.display()), ok: false },
    };
    let mut text = table::render(&assessment);
    list(&mut text, "note", &assessment.notes);
    list(&mut text, "fault", &assessment.faults);
    let ok = assessment.faults.is_empty();
    let verdict = if ok { "good" } else { "refused" };
    text.push_str(&format!("\n{}: {verdict}\n", path.display()));
    Report { text, ok }
}

fn list(text: &mut String, what: &str, items: &[impl Display]) {
    let plural = match items.len() {
        0 => return,
        1 => "",
        _ => "s",
    };
    text.push_str(&format!("\n{} {what}{plural}:\n", items.len()));
    for item in items {
        text.push_str(&format!("  {item}\n"));
    }
}
