//! Changes to the `.env` file: previewed, written, undone.

use std::path::Path;

use anyhow::Context;
use similar::TextDiff;

use super::{Answer, Applied, Configuration, MISUNDERSTOOD, Preview};
use crate::{
    config::{self, Change, Environment, Form, MAX_INDEX, ReplaceError, Stored, Stream, blank},
    daemon::{self, Reply, Request},
};

/// Lines around a change that a difference shows.
const CONTEXT: usize = 3;

pub(super) fn configuration(path: &Path) -> anyhow::Result<Answer> {
    let Stored { bytes, revision } = read(path)?;
    Ok(Answer::Configuration(Configuration {
        path: path.display().to_string(),
        revision,
        form: form(path, &bytes),
        can_undo: config::previous(path)?.is_some(),
    }))
}

/// A blank form of the stream's first free index.
pub(super) fn first_blank(path: &Path, stream: &str) -> anyhow::Result<Answer> {
    let stream: Stream = stream.parse().ok().context("there is no such stream")?;
    let form = form(path, &read(path)?.bytes);
    let is_free = |index: &u32| {
        let mut receivers = form.receivers.iter();
        !receivers.any(|one| one.stream == stream.info().name && one.index == *index)
    };
    let index = (0..=MAX_INDEX).find(is_free).context("every index is taken")?;
    Ok(Answer::Blank(blank(stream, index)))
}

pub(super) fn preview(path: &Path, changes: &[Change]) -> anyhow::Result<Answer> {
    let old = read(path)?.bytes;
    Ok(Answer::Preview(compare(path, &old, &config::edit(&old, changes)?)))
}

pub(super) fn preview_undo(path: &Path) -> anyhow::Result<Answer> {
    let old = read(path)?.bytes;
    Ok(Answer::Preview(compare(path, &old, &before(path)?)))
}

pub(super) fn apply(path: &Path, revision: &str, changes: &[Change]) -> anyhow::Result<Answer> {
    let old = read(path)?;
    if old.revision != revision {
        return Ok(Answer::Conflict);
    }
    let new = config::edit(&old.bytes, changes)?;
    replace(path, &old, &new)
}

pub(super) fn undo(path: &Path, revision: &str) -> anyhow::Result<Answer> {
    let old = read(path)?;
    if old.revision != revision {
        return Ok(Answer::Conflict);
    }
    replace(path, &old, &before(path)?)
}

fn before(path: &Path) -> anyhow::Result<Vec<u8>> {
    config::previous(path)?.context("there is no version before this one")
}

/// Writes what is without faults, and has the daemon take it.
fn replace(path: &Path, old: &Stored, new: &[u8]) -> anyhow::Result<Answer> {
    let preview = compare(path, &old.bytes, new);
    if !preview.form.faults.is_empty() {
        return Ok(Answer::Faulty(preview));
    }
    match config::replace(path, &old.revision, new) {
        Ok(()) => {}
        Err(ReplaceError::Changed(_)) => return Ok(Answer::Conflict),
        Err(error) => return Err(error.into()),
    }
    let (in_force, reload) = match daemon::ask(path, Request::Reload) {
        Ok(Reply::Done(what)) => (true, what),
        Ok(Reply::Failed(why) | Reply::Refused(why)) => (false, why),
        Ok(Reply::Status(_) | Reply::Log(_)) => (false, MISUNDERSTOOD.to_owned()),
        Err(error) => (false, error.to_string()),
    };
    let revision = read(path)?.revision;
    Ok(Answer::Applied(Applied { diff: preview.diff, revision, reload, in_force }))
}

fn compare(path: &Path, old: &[u8], new: &[u8]) -> Preview {
    let [old, text] = [old, new].map(|bytes| config::veil(&String::from_utf8_lossy(bytes)));
    let diff = TextDiff::from_lines(&old, &text).unified_diff().context_radius(CONTEXT).to_string();
    Preview { diff, form: form(path, new) }
}

fn form(path: &Path, bytes: &[u8]) -> Form {
    config::form(path, &String::from_utf8_lossy(bytes), &Environment::gather())
}

fn read(path: &Path) -> anyhow::Result<Stored> {
    config::read(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILE: &str = "# mine\nIPFIX_DNSFLOW_PORT[0]=1600\nOTHER=x\n";

    fn port(value: &str) -> Vec<Change> {
        vec![Change::Set { key: "IPFIX_DNSFLOW_PORT[0]".to_owned(), value: value.to_owned() }]
    }

    fn revision(path: &Path) -> String {
        config::read(path).unwrap().revision
    }

    #[test]
    fn changes_are_written_and_undone_and_a_daemon_that_is_not_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        fs::write(&path, FILE).unwrap();
        let Answer::Applied(applied) = apply(&path, &revision(&path), &port("1700")).unwrap()
        else {
            panic!("not applied")
        };
        assert_eq!(fs::read_to_string(&path).unwrap(), FILE.replace("1600", "1700"));
        assert!(applied.diff.contains("-IPFIX_DNSFLOW_PORT[0]=1600"), "{}", applied.diff);
        assert!(!applied.in_force && applied.reload.contains("no daemon"), "{}", applied.reload);
        assert_eq!(applied.revision, revision(&path));
        let Answer::Applied(_) = undo(&path, &applied.revision).unwrap() else { panic!() };
        assert_eq!(fs::read_to_string(&path).unwrap(), FILE);
    }

    #[test]
    fn faults_and_conflicts_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        fs::write(&path, FILE).unwrap();
        let old = revision(&path);
        let Answer::Faulty(preview) = apply(&path, &old, &port("0")).unwrap() else { panic!() };
        assert_eq!(preview.form.faults[0].key, "IPFIX_DNSFLOW_PORT[0]");
        fs::write(&path, format!("{FILE}# theirs\n")).unwrap();
        assert_eq!(apply(&path, &old, &port("1700")).unwrap(), Answer::Conflict);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{FILE}# theirs\n"));
        let Answer::Preview(preview) = super::preview(&path, &port("1600")).unwrap() else {
            panic!()
        };
        assert_eq!(preview.diff, "");
    }

    #[test]
    fn a_new_receiver_has_the_first_free_index() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        fs::write(&path, FILE).unwrap();
        let Answer::Blank(blank) = first_blank(&path, "DNSFLOW").unwrap() else { panic!() };
        assert_eq!((blank.stream.as_str(), blank.index), ("DNSFLOW", 1));
        assert!(first_blank(&path, "NOFLOW").is_err());
    }
}
