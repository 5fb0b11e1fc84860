//! From the lines of a file to the parameters that they set.

use std::collections::HashMap;

use super::{
    Reason, ReceiverId, Stream,
    fault::{Findings, Place},
    nearest::nearest,
    params::{self, GLOBALS, Globals, MAX_INDEX, Param, receiver_key},
    text::{self, Line, PREFIX, Statement},
};

/// One of our keys, with its value.
pub(super) struct Entry {
    /// The key as written in the file, and the plain value.
    pub place: Place,
    pub target: Target,
    /// False when the value can't be made out, which has been reported.
    pub legible: bool,
}

/// What a key stands for.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Global(&'static Param<Globals>),
    Receiver(ReceiverId, &'static Param),
}

impl Target {
    /// The same for every spelling of a key.
    pub fn key(self) -> String {
        match self {
            Self::Global(param) => format!("{PREFIX}{}", param.name),
            Self::Receiver(id, param) => param.key(id),
        }
    }
}

/// Reads all lines. A key that can't be read becomes a fault and is left out.
pub(super) fn read(text: &str, findings: &mut Findings) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut first_lines = HashMap::new();
    for line in text::lines(text) {
        let Some(statement) = line.statement else { continue };
        if !statement.key.starts_with(PREFIX) {
            note_foreign(&line, statement, findings);
            continue;
        }
        let Some(entry) = entry(line.number, statement, findings) else { continue };
        match first_lines.get(&entry.target.key()) {
            Some(first) => findings.fault(entry.place, Reason::Twice(*first)),
            None => {
                first_lines.insert(entry.target.key(), line.number);
                entries.push(entry);
            }
        }
    }
    entries
}

fn entry(line: usize, statement: Statement<'_>, findings: &mut Findings) -> Option<Entry> {
    let written = statement.value.unwrap_or_default();
    let value = statement.value.map_or(Err(Reason::NoEquals), text::value);
    let text = value.as_deref().unwrap_or(written).trim().to_owned();
    let place = Place { line, key: statement.key.to_owned(), text };
    match (target(statement.key), value) {
        (Ok(target), Ok(_)) => Some(Entry { place, target, legible: true }),
        (Ok(target), Err(reason)) => {
            findings.fault(place.clone(), reason);
            Some(Entry { place, target, legible: false })
        }
        (Err(_), Err(Reason::NoEquals)) => {
            findings.fault(place, Reason::NoEquals);
            None
        }
        (Err(fault), _) => {
            findings.suggest(place, fault.reason, fault.allowed, fault.nearest);
            None
        }
    }
}

/// Other programs' keys are none of our business, unless they were probably meant for us.
fn note_foreign(line: &Line<'_>, statement: Statement<'_>, findings: &mut Findings) {
    let Statement { key, .. } = statement;
    if key.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
        findings.note(line.number, key, "not read: keys are written in capitals");
    } else if let Some(nearest) = nearest_key(key).filter(|_| key.starts_with("IP")) {
        findings.note(line.number, key, format!("not read; did you mean {nearest}?"));
    }
    if line.raw.lines().skip(1).any(|inside| inside.trim_start().starts_with(PREFIX)) {
        let text = format!("its quoted value spans lines with {PREFIX} keys, which are not read");
        findings.note(line.number, key, text);
    }
}

/// Why a key is none of ours.
pub(super) struct BadKey {
    reason: Reason,
    allowed: Option<String>,
    nearest: Option<String>,
}

/// What a key stands for, in any of its spellings.
pub(super) fn target(key: &str) -> Result<Target, BadKey> {
    let unknown =
        || BadKey { reason: Reason::UnknownKey, allowed: None, nearest: nearest_key(key) };
    let (name, index) = split_index(key);
    let rest = name.strip_prefix(PREFIX).ok_or_else(unknown)?;
    if let Some(param) = GLOBALS.iter().find(|param| param.names().any(|name| name == rest)) {
        return if index.is_none() { Ok(Target::Global(param)) } else { Err(unknown()) };
    }
    let (stream, name) = rest.split_once('_').ok_or_else(unknown)?;
    let stream = stream.parse().map_err(|_| unknown())?;
    let param = params::all().find(|param| param.names().any(|known| known == name));
    let param = param.ok_or_else(unknown)?;
    let index = index.map_or(Some(0), read_index).ok_or_else(|| BadKey {
        reason: Reason::BadIndex,
        allowed: Some(format!("0 to {MAX_INDEX}")),
        nearest: None,
    })?;
    Ok(Target::Receiver(ReceiverId { stream, index, subreceiver: None }, param))
}

/// Name and what stands in the brackets.
fn split_index(key: &str) -> (&str, Option<&str>) {
    match key.strip_suffix(']').and_then(|key| key.split_once('[')) {
        Some((name, index)) => (name.trim_end(), Some(index.trim())),
        None => (key, None),
    }
}

fn read_index(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|index| digits && *index <= MAX_INDEX)
}

/// The right key that is spelled most like this one, with the same index.
fn nearest_key(key: &str) -> Option<String> {
    let (name, index) = split_index(key);
    let globals = GLOBALS.iter().map(|param| format!("{PREFIX}{}", param.name));
    if let Some(global) = globals.clone().find(|global| global.eq_ignore_ascii_case(name)) {
        return Some(global);
    }
    let index = index.map_or(Some(0), read_index).unwrap_or(0);
    let receivers = Stream::ALL.into_iter().flat_map(move |stream| {
        let id = ReceiverId { stream, index, subreceiver: None };
        params::all().flat_map(Param::names).map(move |name| receiver_key(id, name))
    });
    // Compared without index: its brackets are no typing error when they are left out.
    let names = receivers.map(|key| split_index(&key).0.to_owned());
    let name = with_full_stream(name);
    let parameter = name.splitn(3, '_').last().unwrap_or_default();
    let found = nearest(&name, parameter, names.chain(globals))?;
    let global = GLOBALS.iter().any(|param| found.strip_prefix(PREFIX) == Some(param.name));
    Some(if global { found } else { format!("{found}[{index}]") })
}

/// A stream's short name is no typing error either: `IPFIX_DNS_PORT`.
fn with_full_stream(name: &str) -> String {
    let full = || {
        let (stream, parameter) = name.strip_prefix(PREFIX)?.split_once('_')?;
        let long = |full: &Stream| stream.len() >= 3 && full.info().name.starts_with(stream);
        Some(format!("{PREFIX}{}_{parameter}", Stream::ALL.into_iter().find(long)?))
    };
    full().unwrap_or_else(|| name.to_owned())
}
