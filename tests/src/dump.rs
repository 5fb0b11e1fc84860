//! Dump files: read back as anybody can, by RFC 5655 alone, and judged.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::decode::{self, Decoded};
use crate::wire;

/// A finished dump file.
#[derive(Clone, Debug)]
pub struct DumpFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its messages.
    pub messages: Vec<Vec<u8>>,
}

impl DumpFile {
    /// Reads a file, which must be whole messages and nothing else.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path)?;
        let (messages, taken) = wire::cut(&bytes);
        ensure!(taken == bytes.len(), "{}: {taken} of {} bytes", path.display(), bytes.len());
        Ok(Self {
            path: path.to_owned(),
            messages: messages.into_iter().map(<[u8]>::to_vec).collect(),
        })
    }

    /// Its name.
    pub fn name(&self) -> String {
        name(&self.path)
    }

    /// One of the parts of its name: 0 = start, 1 = receiver, 2 = DPI id, 3 = exporter.
    pub fn part(&self, place: usize) -> String {
        let name = self.name();
        let stem = name.split_once(".ipfix").map_or(name.as_str(), |(stem, _)| stem);
        stem.split('_').nth(place).unwrap_or_default().to_owned()
    }

    /// All its bytes.
    pub fn stream(&self) -> Vec<u8> {
        self.messages.concat()
    }

    /// What is in it.
    pub fn decoded(&self) -> Decoded {
        decode::session(&self.messages)
    }
}

/// The finished files of a directory, by name.
pub fn finished(directory: &Path) -> Result<Vec<DumpFile>> {
    ending_with(directory, ".ipfix").iter().map(|path| DumpFile::read(path)).collect()
}

/// The files of a directory that end with this, by name.
pub fn ending_with(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| name(path).ends_with(end));
    paths.sort();
    paths
}

/// Holds files, in the order of their writing, against what one exporter sent: every message is
/// there once, as it was and in order, and all else is templates and options.
pub fn hold<'a>(files: impl IntoIterator<Item = &'a DumpFile>, sent: &[Vec<u8>]) -> Result<()> {
    let there = begin_with(files, sent)?;
    ensure!(there == sent.len(), "message {there} of {} is missing", sent.len());
    Ok(())
}

/// Likewise, but the files may end before the exporter did; how many messages they have.
pub fn begin_with<'a>(
    files: impl IntoIterator<Item = &'a DumpFile>,
    sent: &[Vec<u8>],
) -> Result<usize> {
    let mut due = sent.iter();
    for file in files {
        for (place, message) in file.messages.iter().enumerate() {
            if due.as_slice().first() == Some(message) {
                due.next();
                continue;
            }
            let flows = |end| decode::session(file.messages.iter().take(end)).flows().count();
            let path = file.path.display();
            ensure!(flows(place + 1) == flows(place), "{path}: flows in message {place}");
        }
    }
    Ok(sent.len() - due.len())
}

/// Whether a file can be read on its own: it opens with the session, every data set has its
/// template, and the sequence numbers fit.
pub fn stands_alone(file: &DumpFile) -> Result<()> {
    let first = file.messages.first().context("an empty file")?;
    let opening = decode::session([first]);
    let path = file.path.display();
    ensure!(opening.options().next().is_some(), "{path} does not open with the session");
    let decoded = file.decoded();
    ensure!(decoded.problems.is_empty(), "{path}: {:?}", decoded.problems);
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
