//! The subcommands that talk to the running daemon.

use std::{fmt::Write, path::Path, process::ExitCode};

use comfy_table::{Table, presets};

use super::{EXIT_CONFIGURATION, complain, print};
use crate::{
    daemon::{
        ControlError, DestinationStatus, InterfaceStatus, ReceiverStatus, RecordingStatus, Reply,
        Request, SpoolStatus, Status, ask, forget,
    },
    kernel,
    log::Level,
};

pub fn reload(config: &Path) -> ExitCode {
    finish(config, Request::Reload, |_| String::new())
}

pub fn rotate(config: &Path) -> ExitCode {
    finish(config, Request::Rotate, |_| String::new())
}

pub fn log_level(config: &Path, level: Level) -> ExitCode {
    finish(config, Request::LogLevel(level), |_| String::new())
}

pub fn stop(config: &Path) -> ExitCode {
    finish(config, Request::Stop, |_| String::new())
}

/// Stops the daemon, if there is one, and takes away what it has left in the kernel.
pub fn purge(config: &Path) -> ExitCode {
    if ask(config, Request::Status).is_ok() && stop(config) != ExitCode::SUCCESS {
        return ExitCode::FAILURE;
    }
    if let Err(error) = forget(config) {
        complain(&format!("can't remove what is known of the exporters' sessions: {error}"));
        return ExitCode::FAILURE;
    }
    match kernel::purge(config) {
        Ok(true) => print("programs, links and maps taken away\n"),
        Ok(false) => print("nothing was left in the kernel\n"),
        Err(error) => {
            complain(&format!("can't take away what is in /sys/fs/bpf: {error}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

pub fn status(config: &Path, json: bool) -> ExitCode {
    finish(config, Request::Status, |status| match json {
        true => serde_json::to_string_pretty(status).unwrap_or_default() + "\n",
        false => describe(status),
    })
}

fn finish(config: &Path, request: Request, describe: impl Fn(&Status) -> String) -> ExitCode {
    show(ask(config, request), describe)
}

/// Says what the daemon has replied.
pub fn show(reply: Result<Reply, ControlError>, describe: impl Fn(&Status) -> String) -> ExitCode {
    match reply {
        Ok(Reply::Done(what)) => {
            print(&(what + "\n"));
            ExitCode::SUCCESS
        }
        Ok(Reply::Status(status)) => {
            print(&describe(&status));
            ExitCode::SUCCESS
        }
        // Nobody here asks for them.
        Ok(Reply::Log(_)) => ExitCode::FAILURE,
        Ok(Reply::Refused(why)) => {
            complain(&why);
            ExitCode::from(EXIT_CONFIGURATION)
        }
        Ok(Reply::Failed(why)) => {
            complain(&why);
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn describe(status: &Status) -> String {
    let Status { version, pid, config, uptime_seconds, log_level, .. } = status;
    let Status { pins, interfaces, receivers, .. } = status;
    let mut text = format!(
        "ipfix-balancer {version}, pid {pid}, up {uptime_seconds} s, log level {log_level}, {config}\n"
    );
    if let Some(pins) = pins {
        // Writing to a String does not fail.
        let _ = writeln!(text, "kernel path in {pins}");
    }
    for InterfaceStatus { name, dropped } in interfaces.iter().filter(|it| !it.dropped.is_empty()) {
        let _ = writeln!(text, "interface {name}: dropped {}", reasons(dropped));
    }
    for receiver in receivers {
        describe_receiver(&mut text, receiver);
    }
    text
}

fn describe_receiver(text: &mut String, receiver: &ReceiverStatus) {
    let ReceiverStatus { name, mode, protocol, listen, thread, path, path_reason, .. } = receiver;
    let cpus = match receiver.cpus.as_slice() {
        [] => "not pinned".to_owned(),
        cpus => format!("CPU {}", join(cpus.iter())),
    };
    let launched = match &receiver.launched_by {
        Some(parent) => format!("  launched by {parent}"),
        None => String::new(),
    };
    // Writing to a String does not fail.
    let _ = writeln!(text, "\n{name}  {mode}  {protocol} {listen}  {thread}, {cpus}{launched}");
    let _ = writeln!(text, "  path: {path} ({path_reason})");
    let _ = writeln!(
        text,
        "  sessions {}  messages {}  bytes {}  waiting {}  dropped {}",
        receiver.sessions,
        receiver.messages,
        receiver.bytes,
        receiver.waiting_messages,
        reasons(&receiver.dropped)
    );
    if path == "kernel" {
        let (kernel, up) = (receiver.kernel_messages, reasons(&receiver.passed_up));
        let _ = writeln!(text, "  forwarded by the kernel {kernel}  sent up {up}");
    }
    if let Some(recording) = &receiver.recording {
        describe_recording(text, recording);
    }
    if let Some(spool) = &receiver.spool
        && (spool.messages > 0 || spool.error.is_some())
    {
        let SpoolStatus { state, directory, messages, oldest_seconds, error, .. } = spool;
        let error = error.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "  spool {directory}: {state}  without a turn {messages} ({oldest_seconds} s)  {error}"
        );
    }
    if receiver.destinations.is_empty() {
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "  destination",
        "state",
        "messages",
        "bytes",
        "queued",
        "spooled",
        "dropped",
        "last error",
    ]);
    for destination in &receiver.destinations {
        table.add_row(row(destination));
    }
    let _ = writeln!(text, "{table}");
}

fn describe_recording(text: &mut String, recording: &RecordingStatus) {
    let RecordingStatus { state, directory, dpi_id, messages, bytes, waiting_bytes, .. } =
        recording;
    let (open, finished) = (recording.open_files, recording.finished_files);
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "  {state} to {directory}, DPI {dpi_id}: files {finished} and {open} open  messages {messages}  \
         bytes {bytes}  waiting {waiting_bytes}"
    );
    for (what, value) in
        [("last file", &recording.last_file), ("last error", &recording.last_error)]
    {
        if let Some(value) = value {
            let _ = writeln!(text, "  {what}: {value}");
        }
    }
}

fn row(destination: &DestinationStatus) -> [String; 8] {
    let up = destination.connections.up;
    let all = up + destination.connections.connecting + destination.connections.down;
    let state = &destination.state;
    [
        format!("  {}/{}", destination.address, destination.protocol),
        if all > 0 { format!("{state} {up}/{all}") } else { state.clone() },
        destination.messages.to_string(),
        destination.bytes.to_string(),
        destination.queued_bytes.to_string(),
        match destination.spooled_messages {
            0 => "0".to_owned(),
            messages => format!("{messages} ({} s)", destination.spooled_seconds),
        },
        reasons(&destination.dropped),
        destination.last_error.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn reasons(dropped: &std::collections::BTreeMap<String, u64>) -> String {
    match dropped.is_empty() {
        true => "0".to_owned(),
        false => join(dropped.iter().map(|(reason, count)| format!("{count} {reason}"))),
    }
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
