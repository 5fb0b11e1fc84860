//! A file as forms: for each receiver all parameters, given or not, with what may be put in.

use std::path::Path;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Candidates, Environment, Fault, Note, ReceiverId, Stream, entries, examine,
    fault::Findings,
    params::{self, Draft, GLOBALS, Kind, Param, Preset},
    receivers::Candidate,
    text::PREFIX,
};

/// Everything that a file says, faulty or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Form {
    /// Receivers in the order stream, index.
    pub receivers: Vec<ReceiverForm>,
    /// Parameters of the daemon as a whole.
    pub daemon: Vec<Field>,
    /// What has to be put right, in the order of lines.
    pub faults: Vec<Finding>,
    /// What is merely worth saying.
    pub notes: Vec<Finding>,
}

/// One receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiverForm {
    /// The stream, as in keys.
    pub stream: String,
    /// The number in the brackets.
    pub index: u32,
    /// Its parameters, in the order of the documentation.
    pub fields: Vec<Field>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Field {
    /// In the documented spelling.
    pub key: String,
    /// The part of the key that names the parameter.
    pub name: String,
    /// As the file has it; its default's text when it is not given.
    pub value: String,
    /// Whether it is in the file.
    pub given: bool,
    /// What holds when it is not given, in words if it is no value; `None` = it must be given.
    pub default: Option<String>,
    /// What may be put in.
    pub input: Input,
    /// Why it has no effect, if it has none in the receiver's mode.
    pub idle: Option<String>,
    /// What it is.
    pub about: String,
}

/// What may be put into a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// One of these words.
    Choice(Vec<String>),
    /// A whole number.
    Number {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
        /// Empty without one.
        unit: String,
    },
    /// Text of this form, in words.
    Text(String),
}

/// A fault or a note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Line number, from 1; `None` = the whole file.
    pub line: Option<usize>,
    /// In the documented spelling, if it is a key at all.
    pub key: String,
    /// What there is to say.
    pub text: String,
}

/// A text as forms. `path` is only named in messages.
pub fn form(path: &Path, text: &str, environment: &Environment) -> Form {
    let (candidates, findings) = examine(path, text, environment);
    let Findings { faults, notes, .. } = findings;
    Form {
        receivers: candidates.receivers.iter().map(receiver).collect(),
        daemon: daemon(&candidates),
        faults: faults.into_iter().map(fault).collect(),
        notes: notes.into_iter().map(note).collect(),
    }
}

/// The form of a receiver that is not in the file yet: all defaults.
pub fn blank(stream: Stream, index: u32) -> ReceiverForm {
    let draft = Draft::new(ReceiverId { stream, index, subreceiver: None });
    let field = |param: &Param| field(param, &draft, None);
    ReceiverForm { stream: stream.to_string(), index, fields: params::all().map(field).collect() }
}

fn receiver(candidate: &Candidate) -> ReceiverForm {
    let ReceiverId { stream, index, .. } = candidate.receiver().id;
    let given =
        |param: &Param| candidate.is_given(param.name).then(|| candidate.place(param.name).text);
    let fields = params::all().map(|param| field(param, &candidate.draft, given(param)));
    ReceiverForm { stream: stream.to_string(), index, fields: fields.collect() }
}

fn field(param: &Param, draft: &Draft, given: Option<String>) -> Field {
    let default = param.preset(draft.receiver.id.stream.info());
    let meaning = match param.preset {
        Preset::Nothing(meaning) => Some(meaning.to_owned()),
        Preset::Value(_) | Preset::Stream(_) => default.clone(),
    };
    Field {
        key: param.key(draft.receiver.id),
        name: param.name.to_owned(),
        given: given.is_some(),
        value: given.or(default).unwrap_or_default(),
        default: meaning,
        input: input(param.kind),
        idle: param.applies.why_not(&draft.receiver).map(str::to_owned),
        about: param.about.to_owned(),
    }
}

fn daemon(candidates: &Candidates) -> Vec<Field> {
    let field = |param: &Param<params::Globals>| {
        let place = candidates.global_places.get(param.name);
        let (default, meaning) = match param.preset {
            Preset::Nothing(meaning) => ("", meaning),
            Preset::Value(value) => (value, value),
            Preset::Stream(_) => ("", ""),
        };
        Field {
            key: format!("{PREFIX}{}", param.name),
            name: param.name.to_owned(),
            given: place.is_some(),
            value: place.map_or(default, |place| &place.text).to_owned(),
            default: Some(meaning.to_owned()),
            input: input(param.kind),
            idle: None,
            about: param.about.to_owned(),
        }
    };
    GLOBALS.iter().map(field).collect()
}

fn input(kind: Kind) -> Input {
    match kind {
        Kind::Choice(words) => Input::Choice(words.iter().map(|word| (*word).to_owned()).collect()),
        Kind::Number { min, max, unit } => Input::Number { min, max, unit: unit.to_owned() },
        text => Input::Text(text.to_string()),
    }
}

fn fault(fault: Fault) -> Finding {
    let complaint = fault.complaint();
    let text = match fault.text.as_str() {
        "" => complaint,
        text => format!("{text}: {complaint}"),
    };
    Finding { line: Some(fault.line), key: documented(fault.key), text }
}

fn note(note: Note) -> Finding {
    Finding { line: note.line, key: documented(note.key), text: note.text }
}

fn documented(key: String) -> String {
    entries::target(&key).map(entries::Target::key).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Form {
        let environment = Environment {
            cpus: (0..4).collect(),
            local_addresses: Vec::new(),
            local_names: Vec::new(),
        };
        form(Path::new(".env"), text, &environment)
    }

    fn find<'a>(fields: &'a [Field], name: &str) -> &'a Field {
        fields.iter().find(|field| field.name == name).unwrap()
    }

    #[test]
    fn a_form_has_every_parameter_once_given_or_not() {
        let form = read("IPFIX_FULLFLOW_PORT=9500\nIPFIX_METRICS_LISTEN=[::1]:9100\n");
        let [receiver] = form.receivers.as_slice() else { panic!("{form:?}") };
        assert_eq!((receiver.stream.as_str(), receiver.index), ("FULLFLOW", 0));
        let mut keys: Vec<_> = receiver.fields.iter().map(|field| &field.key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), params::all().count());
        let port = find(&receiver.fields, "PORT");
        assert_eq!((port.key.as_str(), port.value.as_str()), ("IPFIX_FULLFLOW_PORT[0]", "9500"));
        assert_eq!((port.given, port.default.as_deref()), (true, Some("1500")));
        let range = Input::Number { min: 1, max: 65_535, unit: String::new() };
        assert_eq!(port.input, range);
        let protocol = find(&receiver.fields, "PORT_TYPE");
        assert_eq!((protocol.given, protocol.value.as_str()), (false, "tcp"));
        assert_eq!(protocol.input, Input::Choice(vec!["tcp".to_owned(), "udp".to_owned()]));
        assert_eq!(find(&form.daemon, "METRICS_LISTEN").value, "[::1]:9100");
        assert_eq!(find(&form.daemon, "UI_LISTEN").default.as_deref(), Some("off"));
    }

    #[test]
    fn what_has_no_effect_in_a_mode_says_why_and_keeps_its_value() {
        let form = read("IPFIX_FULLFLOW_BALANCER_SUB[0]=10.0.0.1/1\n");
        let fields = &form.receivers[0].fields;
        let list = find(fields, "BALANCER_SUB");
        assert!(list.idle.as_ref().unwrap().contains("BALANCER=Disabled"), "{list:?}");
        assert_eq!(list.value, "10.0.0.1/1");
        assert_eq!(find(fields, "ROTATE_MINUTES").idle, None);
    }

    #[test]
    fn faults_name_keys_as_the_form_does() {
        let form = read("IPFIX_FULLFLOW_PORT=70000\nIPFIX_FULLFLOW_BALANCER=Al\n");
        let faults: Vec<_> = form.faults.iter().map(|f| (f.line, f.key.as_str())).collect();
        assert_eq!(
            faults,
            [(Some(1), "IPFIX_FULLFLOW_PORT[0]"), (Some(2), "IPFIX_FULLFLOW_BALANCER[0]")]
        );
        assert!(form.faults[1].text.contains("did you mean All?"), "{:?}", form.faults[1]);
        assert_eq!(find(&form.receivers[0].fields, "PORT").value, "70000");
    }

    #[test]
    fn a_blank_form_has_the_stream_s_defaults() {
        let blank = blank(Stream::Clickstream, 2);
        assert_eq!(find(&blank.fields, "PORT").value, "1501");
        assert_eq!(
            find(&blank.fields, "ROTATE_MINUTES").key,
            "IPFIX_CLICKSTREAM_ROTATE_MINUTES[2]"
        );
        assert_eq!(find(&super::blank(Stream::Dnsflow, 0).fields, "PORT").default, None);
        assert!(blank.fields.iter().all(|field| !field.given));
    }
}
