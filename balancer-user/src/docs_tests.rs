//! The documents say what the code does: numbers and names that stand in both are compared here.

#[cfg(feature = "kernel")]
mod kernel;
mod metrics;
mod promql;
mod security;

use std::{collections::BTreeSet, fs, path::Path};

use clap::Parser;
use common::reason::Reason;
use serde_json::Value;

use crate::{
    advice::advice,
    command::Cli,
    daemon::{
        Connections, DRAIN, DestinationStatus, InterfaceStatus, ProcessStatus, ReceiverStatus,
        RecordingStatus, SpoolStatus, Status,
    },
    doctor::Check,
    handler::{CHUNK, JOURNAL, bounds, health, spooling},
    input::tcp::SENDING,
    inspect,
    net::socket::UDP_BUFFER,
    output::{MAX_DESTINATION_BYTES, MAX_QUEUE_BYTES, MAX_UNREAD_BYTES, SPOOL_FROM},
    record::{COMMAND_LIMIT, MAX_UNANNOUNCED, MAX_WAITING_BYTES, RETRY},
    session::{MAX_DOMAINS, MAX_OPTIONS_BYTES, MAX_TEMPLATE_BYTES},
    spool,
    succession::MAX_KEPT,
    watchdog,
};

fn document(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    fs::read_to_string(docs.join(name)).unwrap()
}

/// A text without its line breaks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_reason_is_documented_and_no_other() {
    let document = document("status.md");
    let table = document.lines().skip_while(|line| *line != "## Reasons");
    let documented: Vec<&str> = table.filter(|line| line.starts_with("| `")).collect();
    let row = |reason: Reason| format!("| `{}` | {} |", reason.as_str(), reason.meaning());
    assert_eq!(documented, Reason::ALL.map(row));
}

#[test]
fn troubleshooting_says_what_to_do_for_every_reason() {
    let document = document("troubleshooting.md");
    let table = document.lines().skip_while(|line| *line != "## Reasons");
    let documented: Vec<&str> = table.filter(|line| line.starts_with("| `")).collect();
    let row = |reason: Reason| {
        format!("| `{}` | {} | {} |", reason.as_str(), reason.meaning(), advice(reason))
    };
    assert_eq!(documented, Reason::ALL.map(row));
}

#[test]
fn every_check_of_doctor_is_documented_and_no_other() {
    let document = document("troubleshooting.md");
    let table = document.lines().skip_while(|line| *line != "## doctor");
    let table = table.take_while(|line| *line != "## The log");
    let documented: Vec<&str> = table.filter(|line| line.starts_with("| `")).collect();
    assert_eq!(documented, Check::ALL.map(|check| format!("| `{check}` | {} |", check.about())));
}

/// Commands that pages show, by how they begin; each can be parsed.
#[test]
fn commands_that_are_shown_exist() {
    let mut shown = 0;
    for page in ["troubleshooting.md", "metrics.md", "../README.md"] {
        let text = document(page);
        let mut in_code = false;
        for line in text.lines() {
            if line.starts_with("```") {
                in_code = !in_code && line.starts_with("```sh");
            } else if let (true, Some(command)) = (in_code, line.strip_prefix("ipfix-balancer ")) {
                let words = command.split('#').next().unwrap().split_whitespace();
                let parsed = Cli::try_parse_from(std::iter::once("ipfix-balancer").chain(words));
                assert!(parsed.is_ok(), "{page}: {line}: {}", parsed.unwrap_err());
                shown += 1;
            }
        }
    }
    assert!(shown > 10, "{shown}");
}

#[test]
fn the_bounds_are_those_of_the_code() {
    let text = document("limits.md");
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let kib = |bytes: u64| format!("{} KiB", bytes >> 10);
    let waiting = mib(usize::try_from(MAX_WAITING_BYTES).unwrap());
    for row in [
        format!("| templates of one session | {} |", mib(MAX_TEMPLATE_BYTES)),
        format!("| options records of one session | {} |", mib(MAX_OPTIONS_BYTES)),
        format!("| observation domains of one session | {MAX_DOMAINS} |"),
        format!("| queue of one session to one destination | {} |", mib(MAX_QUEUE_BYTES)),
        format!("| queues of all sessions to one destination | {} |", mib(MAX_DESTINATION_BYTES)),
        format!("acknowledged, and perhaps not read | {} |", mib(MAX_UNREAD_BYTES)),
        format!("| messages that wait for the dump files | {waiting} |"),
        format!(
            "| messages that wait for the disk of the spool, templates among them | {} MiB |",
            2 * (spool::MAX_WAITING_BYTES >> 20)
        ),
        format!("| each session | {} |", kib(bounds::SESSION)),
        format!("| and for each of its destinations | {} |", kib(bounds::OUTLET)),
        format!("| the handler itself | {} |", mib(usize::try_from(bounds::HANDLER).unwrap())),
    ] {
        assert!(text.contains(&row), "docs/limits.md lacks: {row}");
    }
}

#[test]
fn how_long_a_udp_destination_is_tried_is_documented() {
    let text = one_line(&document("architecture.md"));
    let (attempts, refusal) = (health::ATTEMPTS, health::REFUSAL.as_millis());
    let said = format!(
        "When {attempts} of them in a row have left and brought no error within {refusal} ms each"
    );
    assert!(text.contains(&said), "docs/architecture.md lacks: {said}");
}

#[test]
fn what_recording_does_when_something_goes_wrong_is_documented() {
    let text = one_line(&document("recording.md"));
    for number in [
        format!("{} MiB wait in memory", MAX_WAITING_BYTES >> 20),
        format!("ended after {} s", COMMAND_LIMIT.as_secs()),
        format!("when {MAX_UNANNOUNCED} files wait"),
        format!("tried again every {} ms", RETRY.as_millis()),
    ] {
        assert!(text.contains(&number), "docs/recording.md lacks: {number}");
    }
}

#[test]
fn what_survives_a_restart_is_documented() {
    let text = one_line(&document("restart.md"));
    for number in [
        format!("FileDescriptorStoreMax={MAX_KEPT}"),
        format!("There can't be more than {MAX_KEPT}"),
        format!("for up to {} s, and ends", DRAIN.as_secs()),
        format!("sequence numbers and turns at most {} ms later", JOURNAL.as_millis()),
        format!("does not take messages for {} ms", SENDING.as_millis()),
        format!("a read brings {} KiB at most", CHUNK >> 10),
    ] {
        assert!(text.contains(&number), "docs/restart.md lacks: {number}");
    }
}

#[test]
fn the_service_manager_waits_as_long_as_is_documented() {
    let wanted = format!("WatchdogSec={}", watchdog::PATIENCE.as_secs());
    assert!(document("../packaging/systemd/ipfix-balancer.service").contains(&wanted));
    let text = one_line(&document("operation.md"));
    assert!(text.contains(&format!("(`{wanted}`)")), "docs/operation.md lacks: {wanted}");
}

#[test]
fn how_much_waits_and_for_how_long_is_documented() {
    let text = one_line(&document("delivery.md"));
    for number in [
        format!("{} MiB of each exporter session, while it can't be reached", SPOOL_FROM >> 20),
        format!("{} MiB while it is merely slow", MAX_QUEUE_BYTES >> 20),
        format!("at most {} MiB for all sessions", MAX_DESTINATION_BYTES >> 20),
        format!("a {}th of `SPOOL_MAX_MB`", spool::SEGMENTS),
        format!("tried again every {} ms", spool::RETRY.as_millis()),
        format!("up to {} MiB for each receiver", spool::MAX_WAITING_BYTES >> 20),
        format!("what can be sent within {} s is sent", DRAIN.as_secs()),
        format!("where more than {} sessions wait for it less than", spooling::EARLY),
        format!("less than {} MiB of each.", SPOOL_FROM >> 20),
        format!("gives nothing for {} s is not waited for", spooling::PATIENCE.as_secs()),
    ] {
        assert!(text.contains(&number), "docs/delivery.md lacks: {number}");
    }
}

#[test]
fn inspect_spells_out_as_many_faults_as_its_page_says() {
    let text = one_line(&document("inspect.md"));
    let said = format!("the first {} are spelled out", inspect::MAX_FAULTS);
    assert!(text.contains(&said), "docs/inspect.md lacks: {said}");
}

#[test]
fn packages_allow_the_buffers_that_are_asked_for() {
    let settings = document("../packaging/sysctl/60-ipfix-balancer.conf");
    for name in ["rmem_max", "wmem_max"] {
        assert!(settings.contains(&format!("net.core.{name} = {UDP_BUFFER}\n")), "{name}");
    }
}

/// One of everything.
fn status() -> Status {
    let destination = DestinationStatus {
        address: String::new(),
        protocol: String::new(),
        state: String::new(),
        connections: Connections { up: 0, connecting: 0, down: 0 },
        messages: 0,
        kernel_messages: 0,
        bytes: 0,
        resent: 0,
        handed_on: 0,
        queued_bytes: 0,
        unacknowledged_bytes: 0,
        unread_bytes: 0,
        spooled_messages: 0,
        spooled_bytes: 0,
        spooled_seconds: 0,
        dropped: Default::default(),
        last_error: None,
    };
    let recording = RecordingStatus {
        state: String::new(),
        directory: String::new(),
        dpi_id: 0,
        interval_start_unix_seconds: 0,
        messages: 0,
        bytes: 0,
        waiting_bytes: 0,
        open_files: 0,
        finished_files: 0,
        last_file: None,
        last_error: None,
    };
    let spool = SpoolStatus {
        state: String::new(),
        directory: String::new(),
        messages: 0,
        bytes: 0,
        oldest_seconds: 0,
        error: None,
    };
    let receiver = ReceiverStatus {
        name: String::new(),
        launched_by: None,
        mode: String::new(),
        protocol: String::new(),
        listen: String::new(),
        thread: String::new(),
        cpus: Vec::new(),
        cpu_milliseconds: 0,
        path: String::new(),
        path_reason: String::new(),
        sessions: 0,
        messages: 0,
        bytes: 0,
        kernel_messages: 0,
        passed_up: Default::default(),
        waiting_messages: 0,
        dropped: Default::default(),
        recording: Some(recording),
        spool: Some(spool),
        destinations: vec![destination],
    };
    Status {
        version: String::new(),
        pid: 1,
        config: String::new(),
        started_unix_seconds: 0,
        uptime_seconds: 0,
        log_level: String::new(),
        process: ProcessStatus::default(),
        pins: None,
        interfaces: vec![InterfaceStatus { name: String::new(), dropped: Default::default() }],
        receivers: vec![receiver],
    }
}

#[test]
fn the_schema_has_every_field_of_the_status_and_asks_for_it() {
    let schema: Value = serde_json::from_str(&document("status.schema.json")).unwrap();
    let status = serde_json::to_value(status()).unwrap();
    for (status, schema) in [
        ("", ""),
        ("/process", "/properties/process"),
        ("/interfaces/0", "/$defs/interface"),
        ("/receivers/0", "/$defs/receiver"),
        ("/receivers/0/recording", "/$defs/recording"),
        ("/receivers/0/spool", "/$defs/spool"),
        ("/receivers/0/destinations/0", "/$defs/destination"),
        ("/receivers/0/destinations/0/connections", "/$defs/destination/properties/connections"),
    ]
    .map(|(object, place)| (status.pointer(object).unwrap(), schema.pointer(place).unwrap()))
    {
        let fields: BTreeSet<&str> = keys(status);
        let asked = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str);
        assert_eq!(asked.collect::<BTreeSet<_>>(), fields);
        assert_eq!(keys(&schema["properties"]), fields);
    }
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Where unsafe code may be; docs/architecture.md names the same.
const UNSAFE: [&str; 3] = ["kernel/shared.rs", "net/barrier.rs", "net/mmsg.rs"];

#[test]
fn unsafe_code_is_where_the_architecture_says() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if has_unsafe_code(&fs::read_to_string(&path).unwrap()) {
                files.push(path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    assert_eq!(files, UNSAFE);
    let text = one_line(&document("architecture.md"));
    for file in UNSAFE {
        assert!(text.contains(&format!("`{file}`")), "docs/architecture.md lacks {file}");
    }
}

fn has_unsafe_code(source: &str) -> bool {
    let words = ["{", "impl", "fn", "trait", "extern"].map(|next| ["unsafe", next].join(" "));
    let mut lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.any(|line| words.iter().any(|word| line.contains(word.as_str())))
}
