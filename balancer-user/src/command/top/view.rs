//! What is on the screen.

use std::collections::BTreeMap;

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Paragraph, Row, Table, TableState},
};

use super::{Sample, rates::Rates};
use crate::daemon::{DestinationStatus, ReceiverStatus, Status};

const COLUMNS: [(&str, Constraint); 9] = [
    ("RECEIVER / DESTINATION", Constraint::Min(24)),
    ("STATE", Constraint::Length(11)),
    ("MSG/S", Constraint::Length(7)),
    ("BYTES/S", Constraint::Length(7)),
    ("QUEUE", Constraint::Length(7)),
    ("SPOOL", Constraint::Length(7)),
    ("DROP/S", Constraint::Length(6)),
    ("DROPPED", Constraint::Length(7)),
    ("CPU", Constraint::Length(4)),
];
const KEYS: &str = "q quit   up, down scroll   MSG/S of a receiver is what comes in, of a destination what goes out";

/// The screen, between two questions to the daemon.
#[derive(Default)]
pub struct Screen {
    title: String,
    rows: Vec<Entry>,
    /// What is wrong, the worst first.
    troubles: Vec<String>,
    failure: Option<String>,
    position: TableState,
}

struct Entry {
    cells: [String; COLUMNS.len()],
    style: Style,
}

impl Screen {
    /// Takes over a new state.
    pub fn show(&mut self, before: &Sample, now: &Sample) {
        let rates = Rates::between(before, now);
        self.failure = None;
        self.title = title(&now.status);
        self.rows.clear();
        self.troubles.clear();
        for receiver in &now.status.receivers {
            self.rows.push(self::receiver(receiver, &rates));
            let destinations = receiver.destinations.iter();
            self.rows.extend(destinations.map(|d| destination(&receiver.name, d, &rates)));
            self.troubles.extend(troubles(receiver));
        }
        self.scroll(0);
    }

    /// The daemon does not answer; what was shown last stays.
    pub fn fail(&mut self, why: &str) {
        self.failure = Some(why.to_owned());
    }

    /// Moves the table by so many rows.
    pub fn scroll(&mut self, rows: isize) {
        let last = self.rows.len().saturating_sub(1);
        let offset = self.position.offset_mut();
        *offset = offset.saturating_add_signed(rows).min(last);
    }

    pub fn draw(&mut self, frame: &mut Frame) {
        let areas = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(3),
            Constraint::Length(3),
            Constraint::Length(1),
        ]);
        let [title, table, troubles, keys] = areas.areas(frame.area());
        frame.render_widget(Line::from(self.title.as_str()).style(Modifier::BOLD), title);
        frame.render_stateful_widget(self.table(), table, &mut self.position);
        let failure = self.failure.as_ref().map(|why| format!("no answer: {why}"));
        let lines = failure.iter().chain(&self.troubles).map(|text| Line::from(text.as_str()));
        frame.render_widget(
            Paragraph::new(lines.take(3).collect::<Vec<_>>()).style(Color::Red),
            troubles,
        );
        frame.render_widget(Line::from(KEYS).style(Modifier::DIM), keys);
    }

    fn table(&self) -> Table<'static> {
        let rows = self.rows.iter().map(|entry| Row::new(entry.cells.clone()).style(entry.style));
        let header = Row::new(COLUMNS.map(|(name, _)| name)).style(Modifier::REVERSED);
        Table::new(rows.collect::<Vec<_>>(), COLUMNS.map(|(_, width)| width)).header(header)
    }
}

fn title(status: &Status) -> String {
    let Status { version, config, uptime_seconds, process, .. } = status;
    format!(
        "ipfix-balancer {version}  {config}  up {}  memory {}B  files {}",
        span(*uptime_seconds),
        short(process.resident_bytes as f64),
        process.open_files
    )
}

fn receiver(receiver: &ReceiverStatus, rates: &Rates) -> Entry {
    let now = rates.receiver(receiver);
    let path = match receiver.path.as_str() {
        "kernel" => format!("kernel {:.0}%", now.kernel * 100.0),
        path => path.to_owned(),
    };
    let waiting = match receiver.waiting_messages {
        0 => String::new(),
        waiting => format!("{waiting} msg"),
    };
    let recording = receiver.recording.as_ref();
    let failing = recording.is_some_and(|recording| recording.state == "failing");
    let style = match () {
        () if failing || receiver.waiting_messages > 0 || now.dropped > 0.0 => Color::Red.into(),
        () => Style::default(),
    };
    Entry {
        cells: [
            format!(
                "{} {} {} {}",
                receiver.name, receiver.mode, receiver.protocol, receiver.listen
            ),
            if failing { "disk fails".to_owned() } else { path },
            short(now.messages),
            short(now.bytes),
            recording.map_or(waiting, |recording| short(recording.waiting_bytes as f64)),
            receiver.spool.as_ref().map_or(String::new(), |spool| short(spool.bytes as f64)),
            short(now.dropped),
            short(total(&receiver.dropped)),
            format!("{:.0}%", now.cpu * 100.0),
        ],
        style: style.add_modifier(Modifier::BOLD),
    }
}

fn destination(receiver: &str, destination: &DestinationStatus, rates: &Rates) -> Entry {
    let now = rates.destination(receiver, destination);
    let style = match destination.state.as_str() {
        "down" | "partly" => Color::Red.into(),
        _ if now.dropped > 0.0 => Color::Red.into(),
        _ if destination.queued_bytes + destination.spooled_bytes > 0 => Color::Yellow.into(),
        _ => Style::default(),
    };
    Entry {
        cells: [
            format!("  {}/{}", destination.address, destination.protocol),
            destination.state.clone(),
            short(now.messages),
            short(now.bytes),
            short(destination.queued_bytes as f64),
            short(destination.spooled_bytes as f64),
            short(now.dropped),
            short(total(&destination.dropped)),
            String::new(),
        ],
        style,
    }
}

fn troubles(receiver: &ReceiverStatus) -> Vec<String> {
    let disk = receiver.recording.as_ref().filter(|recording| recording.state == "failing");
    let disk = disk.and_then(|recording| recording.last_error.clone());
    let away = |d: &&DestinationStatus| matches!(d.state.as_str(), "down" | "partly");
    let away = receiver.destinations.iter().filter(away).map(|destination| {
        let why = destination.last_error.as_deref().unwrap_or("it can't be reached");
        format!("{}/{}: {why}", destination.address, destination.protocol)
    });
    disk.into_iter().chain(away).map(|text| format!("{} {text}", receiver.name)).collect()
}

fn total(dropped: &BTreeMap<String, u64>) -> f64 {
    dropped.values().sum::<u64>() as f64
}

/// Three digits and a unit: `1.23k`, `45.6M`.
fn short(number: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match units.iter().find(|(size, _)| number >= *size) {
        None => format!("{number:.0}"),
        Some((size, unit)) => {
            let value = number / size;
            let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
            format!("{value:.digits$}{unit}")
        }
    }
}

fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m {}s", seconds % 60),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests;
