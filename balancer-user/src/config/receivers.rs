//! From parameters to receivers, each with the places in the file that it comes from.

use std::collections::BTreeMap;

use super::{
    Reason, Receiver, ReceiverId,
    entries::{Entry, Target},
    fault::{Findings, Place},
    params::{self, Bad, Draft, GLOBALS, Globals, Param, describe, receiver_key},
    text::PREFIX,
};

/// What a file says, not yet checked across parameters.
pub(super) struct Candidates {
    pub globals: Globals,
    pub global_settings: Vec<Setting>,
    /// The places of the global parameters that are in the file.
    pub global_places: BTreeMap<&'static str, Place>,
    /// In the order stream, index.
    pub receivers: Vec<Candidate>,
}

/// A receiver and where its parameters come from.
pub(super) struct Candidate {
    pub draft: Draft,
    given: Vec<Given>,
    /// Where its first key stands.
    first: Place,
}

struct Given {
    param: &'static Param,
    place: Place,
    /// The value can be read.
    sound: bool,
}

/// One parameter in effect, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub key: String,
    pub value: String,
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    /// A line that can't be read.
    Faulty(usize),
    Line(usize),
}

/// Sorts entries into receivers and reads their values.
pub(super) fn collect(entries: Vec<Entry>, findings: &mut Findings) -> Candidates {
    let mut globals = Globals::new();
    let mut global_places = BTreeMap::new();
    let mut faulty = Vec::new();
    let mut by_receiver: BTreeMap<ReceiverId, Vec<Given>> = BTreeMap::new();
    for Entry { place, target, legible } in entries {
        match target {
            Target::Receiver(id, param) => {
                by_receiver.entry(id).or_default().push(Given { param, place, sound: legible });
            }
            Target::Global(param) => {
                if !legible || !read(param, &place, &mut globals, findings) {
                    faulty.push(param.name);
                }
                global_places.insert(param.name, place);
            }
        }
    }
    let settings = GLOBALS.iter().map(|param| {
        let place = global_places.get(param.name);
        setting(
            format!("{PREFIX}{}", param.name),
            describe((param.show)(&globals), &param.preset),
            place.map(|place| (place, !faulty.contains(&param.name))),
        )
    });
    let global_settings = settings.collect();
    let receivers = by_receiver
        .into_iter()
        .filter_map(|(id, given)| Candidate::new(id, given, findings))
        .collect();
    Candidates { globals, global_settings, global_places, receivers }
}

impl Candidate {
    fn new(id: ReceiverId, mut given: Vec<Given>, findings: &mut Findings) -> Option<Self> {
        let first = given.iter().map(|given| &given.place).min_by_key(|place| place.line)?.clone();
        let mut draft = Draft::new(id);
        for Given { param, place, sound } in given.iter_mut().filter(|given| given.sound) {
            *sound = read(param, place, &mut draft, findings);
            if let Some(remark) = draft.remark.take() {
                findings.note(place.line, &place.key, remark);
            }
        }
        let mut candidate = Self { draft, given, first };
        candidate.settle(findings);
        Some(candidate)
    }

    /// Fills in what depends on several parameters.
    fn settle(&mut self, findings: &mut Findings) {
        let protocol = self.draft.sub_protocol;
        for destination in &mut self.draft.receiver.destinations {
            destination.protocol = protocol;
        }
        let stream = self.draft.receiver.id.stream.info();
        for param in params::all() {
            if self.given(param.name).is_none() && param.preset(stream).is_none() {
                let allowed = Some(param.kind.to_string());
                findings.suggest(self.place(param.name), Reason::Missing, allowed, None);
            }
        }
        // A mode that can't be read says nothing about what has an effect.
        if self.sound(params::BALANCER) {
            self.drop_idle(findings);
        }
    }

    /// Notes parameters without effect, and gives them back their defaults.
    fn drop_idle(&mut self, findings: &mut Findings) {
        let before = self.draft.receiver.clone();
        let idle = |given: &&Given| given.param.applies.why_not(&before).is_some();
        for Given { param, place, .. } in self.given.iter().filter(idle) {
            if let Some(why) = param.applies.why_not(&before) {
                findings.note(place.line, &place.key, why);
            }
            param.reset(&mut self.draft);
        }
    }

    pub fn receiver(&self) -> &Receiver {
        &self.draft.receiver
    }

    /// False when the parameter is in the file and could not be read.
    pub fn sound(&self, name: &str) -> bool {
        self.given(name).is_none_or(|given| given.sound)
    }

    /// Whether a port is known: it is neither faulty nor missing.
    pub fn has_port(&self) -> bool {
        let (port, protocol) = (self.sound(params::PORT), self.sound(params::PORT_TYPE));
        port && protocol && self.draft.receiver.port != 0
    }

    /// Whether the parameter is in the file.
    pub fn is_given(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// Where the parameter stands; when it doesn't, its key and the receiver's first line.
    pub fn place(&self, name: &str) -> Place {
        match self.given(name) {
            Some(given) => given.place.clone(),
            None => Place {
                line: self.first.line,
                key: receiver_key(self.draft.receiver.id, name),
                text: String::new(),
            },
        }
    }

    /// Parameters in effect, in the order of the table.
    pub fn settings(&self) -> Vec<Setting> {
        let active = |param: &&Param| {
            !self.sound(params::BALANCER) || param.applies.why_not(self.receiver()).is_none()
        };
        let settings = params::all().filter(active).map(|param| {
            let given = self.given(param.name);
            let value = param.describe(&self.draft);
            setting(param.name.to_owned(), value, given.map(|given| (&given.place, given.sound)))
        });
        settings.collect()
    }

    fn given(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.param.name == name)
    }
}

fn setting(key: String, value: String, given: Option<(&Place, bool)>) -> Setting {
    match given {
        None => Setting { key, value, origin: Origin::Default },
        Some((place, true)) => Setting { key, value, origin: Origin::Line(place.line) },
        Some((place, false)) => {
            Setting { key, value: place.text.clone(), origin: Origin::Faulty(place.line) }
        }
    }
}

/// Reads a value; false = what is wrong with it has been reported.
fn read<T>(param: &Param<T>, place: &Place, into: &mut T, findings: &mut Findings) -> bool {
    let Err(bad) = (param.read)(&param.kind, &place.text, into) else { return true };
    for Bad { part, reason, nearest } in bad {
        let text = part.unwrap_or_else(|| place.text.clone());
        let place = Place { text, ..place.clone() };
        findings.suggest(place, reason, Some(param.kind.to_string()), nearest);
    }
    false
}
