//! The commands that README and documents show, and where each of them is run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Fenced blocks of this language hold commands.
const LANGUAGE: &str = "sh";

/// One command, with where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The file, from the project's root.
    pub document: PathBuf,
    /// The command without its comment.
    pub command: String,
}

/// Where a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a scratch folder with the files that it names, and a daemon.
    Scratch,
    /// On a system of its own that has the package installed, with systemd.
    System,
    /// Nowhere, and why.
    Nowhere(&'static str),
}

/// What `cargo xtask` does is too much to be done by one of its own tests, which make sure that it knows the
/// command.
const XTASK: Place =
    Place::Nowhere("it would build, test or measure everything from within a test");
const REGISTRY: Place =
    Place::Nowhere("takes packages from a registry; dpkg and rpm install, upgrade and remove them");

/// Commands by how they begin. The first that fits counts.
const PLACES: &[(&str, Place)] = &[
    ("tcpdump -i eth0", Place::Nowhere("captures at an interface that is not here")),
    ("cargo xtask ", XTASK),
    ("cargo build --release", XTASK),
    ("apt ", REGISTRY),
    ("dnf ", REGISTRY),
    ("editor ", Place::Nowhere("waits for a person")),
    ("podman ", Place::Nowhere("takes a base image from a registry")),
    ("systemctl ", Place::System),
    ("journalctl ", Place::System),
    ("chown ", Place::System),
    ("curl ", Place::Scratch),
    ("ipfix-balancer ", Place::Scratch),
    ("bpftool ", Place::Scratch),
    ("ls ", Place::Scratch),
];

impl Shown {
    /// Where it is run; none if nobody has decided.
    pub fn place(&self) -> Option<Place> {
        let fits = |(begin, _): &&(&str, Place)| self.command.starts_with(begin);
        PLACES.iter().find(fits).map(|(_, place)| *place)
    }
}

/// All commands of the project's documents, in their order.
pub fn commands() -> Result<Vec<Shown>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents = vec![PathBuf::from("README.md")];
    for entry in fs::read_dir(root.join("docs"))? {
        documents.push(Path::new("docs").join(entry?.file_name()));
    }
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.sort();
    let mut all = Vec::new();
    for document in documents {
        let text = fs::read_to_string(root.join(&document))?;
        let shown = |command| Shown { document: document.clone(), command };
        all.extend(commands_in(&text).into_iter().map(shown));
    }
    Ok(all)
}

/// The commands in the fenced blocks of a text. Lines that only set a variable are none.
fn commands_in(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut language = None;
    for line in text.lines().map(str::trim) {
        match (line.strip_prefix("```"), language) {
            (Some(name), None) => language = Some(name),
            (Some(_), Some(_)) => language = None,
            (None, Some(language)) if language == LANGUAGE => {
                let command = without_comment(line);
                if !command.is_empty() && !sets_a_variable(command) {
                    commands.push(command.to_owned());
                }
            }
            (None, _) => {}
        }
    }
    commands
}

fn without_comment(line: &str) -> &str {
    let command = line.split_once(" #").map_or(line, |(command, _)| command);
    if command.starts_with('#') { "" } else { command.trim_end() }
}

fn sets_a_variable(command: &str) -> bool {
    let name = command.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && !name.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_comments_settings_and_output() {
        let text = "Do `this`:\n\n```sh\nPINS=/sys\nls $PINS   # what is there\n# nothing\n```\n\n\
                    ```text\nls is not run\n```\n\n  ```sh\n  check --config a=b\n  ```\n";
        assert_eq!(commands_in(text), ["ls $PINS", "check --config a=b"]);
    }

    #[test]
    fn somebody_has_decided_where_each_is_run() {
        let all = commands().unwrap();
        let undecided: Vec<_> = all.iter().filter(|shown| shown.place().is_none()).collect();
        assert!(undecided.is_empty(), "add them to PLACES: {undecided:#?}");
        for (begin, _) in PLACES {
            assert!(all.iter().any(|it| it.command.starts_with(begin)), "nobody shows {begin}");
        }
    }
}
