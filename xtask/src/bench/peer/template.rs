//! Any other program, by a command line for the shell.

use std::ffi::OsString;

use super::list;
use crate::bench::side::Task;
use crate::bench::value;

/// The shell makes way for the command, which then is what is measured, and what is ended.
pub fn command(command: &str, task: &Task<'_>) -> Vec<OsString> {
    let route = task.route;
    let filled = [
        ("{listen}", task.listen.to_string()),
        ("{port}", task.listen.port().to_string()),
        ("{dests}", list(task.destinations, " ")),
        ("{mode}", value(route.mode)),
        ("{input}", value(route.input)),
        ("{output}", value(route.output)),
        ("{directory}", task.directory.display().to_string()),
    ];
    let fill = |text: String, (name, value): &(&str, String)| text.replace(name, value);
    let line = filled.iter().fold(format!("exec {command}"), fill);
    vec!["sh".into(), "-c".into(), line.into()]
}
