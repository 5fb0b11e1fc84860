//! The effective configuration as tables.

use comfy_table::{Table, presets::ASCII_BORDERS_ONLY_CONDENSED};

use super::{
    Assessment, Mode, Receiver,
    params::cpu_ranges,
    receivers::{Origin, Setting},
};
use crate::handler::bounds;

/// A table with a row per receiver, launched ones included, then for each receiver of the file a table with a row per parameter.
pub(super) fn render(assessment: &Assessment) -> String {
    let (receivers, launched) = (&assessment.config.receivers, &assessment.config.launched);
    let mut text = String::new();
    if !receivers.is_empty() {
        let mut overview = table(["receiver", "listens on", "mode", "destinations", "CPUs"]);
        overview.add_rows(receivers.iter().chain(launched).map(|receiver| summary(receiver)));
        text.push_str(&format!("{overview}\n\n"));
    }
    for (receiver, settings) in receivers.iter().zip(&assessment.receivers) {
        let settings = settings_table(settings);
        text.push_str(&format!(
            "{}, thread {}, at most {} MiB of memory\n{settings}\n\n",
            receiver.id,
            receiver.id.thread_name(),
            bounds::memory(receiver) >> 20
        ));
    }
    text.push_str(&format!("daemon\n{}\n", settings_table(&assessment.globals)));
    text
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_BORDERS_ONLY_CONDENSED).set_header(header);
    table
}

fn summary(receiver: &Receiver) -> [String; 5] {
    let address = receiver.bind.map_or("*".to_owned(), |ip| ip.to_string());
    let mode = match receiver.mode {
        Mode::All | Mode::RoundRobin => receiver.mode.to_string(),
        Mode::Disabled => format!("{} (recording)", receiver.mode),
    };
    let destinations = receiver.outputs().iter().map(ToString::to_string).collect::<Vec<_>>();
    [
        receiver.id.to_string(),
        format!("{address} {}/{}", receiver.port, receiver.protocol),
        mode,
        if destinations.is_empty() { "-".to_owned() } else { destinations.join("\n") },
        if receiver.cpus.is_empty() { "-".to_owned() } else { cpu_ranges(&receiver.cpus) },
    ]
}

fn settings_table(settings: &[Setting]) -> Table {
    let mut table = table(["parameter", "value", "from"]);
    table.add_rows(settings.iter().map(|setting| {
        let origin = match setting.origin {
            Origin::Default => "default".to_owned(),
            Origin::Faulty(line) => format!("line {line}: faulty"),
            Origin::Line(line) => format!("line {line}"),
        };
        [setting.key.clone(), setting.value.clone(), origin]
    }));
    table
}
