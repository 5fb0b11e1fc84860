//! The table, the verdicts and the file of figures.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Plan, growth, kernel, memory, recording, stream, throughput};

/// The results so far.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    kernel: String,
    cpu: String,
    runs: usize,
    window_seconds: f32,
    throughput: Vec<throughput::CaseResult>,
    memory: Vec<memory::CaseResult>,
    streams: Vec<stream::CaseResult>,
    growth: Vec<growth::AxisResult>,
    recording: Vec<recording::CaseResult>,
    kernel_path: kernel::Results,
    passed: usize,
    missed: usize,
    not_quoted: usize,
}

/// What a figure is worth.
pub enum Verdict {
    Pass,
    Miss,
    NotQuoted,
}

impl Report {
    /// An empty report of this machine.
    pub fn new(plan: &Plan) -> Self {
        let first_line = |path: &str, start: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
        };
        Self {
            kernel: first_line("/proc/version", "Linux"),
            cpu: first_line("/proc/cpuinfo", "model name"),
            runs: plan.runs,
            window_seconds: plan.window.as_secs_f32(),
            ..Self::default()
        }
    }

    /// Keeps a throughput case.
    pub fn keep(&mut self, case: throughput::CaseResult) {
        self.throughput.push(case);
    }

    /// Keeps a memory case.
    pub fn keep_memory(&mut self, case: memory::CaseResult) {
        self.memory.push(case);
    }

    /// Keeps what collectors got.
    pub fn keep_stream(&mut self, case: stream::CaseResult) {
        self.streams.push(case);
    }

    /// Keeps how cost grows along an axis.
    pub fn keep_growth(&mut self, axis: growth::AxisResult) {
        self.growth.push(axis);
    }

    /// Keeps what was recorded.
    pub fn keep_recording(&mut self, case: recording::CaseResult) {
        self.recording.push(case);
    }

    /// The kernel path's figures.
    pub fn kernel_path(&mut self) -> &mut kernel::Results {
        &mut self.kernel_path
    }

    /// Shows the sum and writes the file; success if every target was reached.
    pub fn finish(&self, json: Option<&Path>) -> Result<ExitCode> {
        let Self { passed, missed, not_quoted, .. } = self;
        println!("\n{passed} targets reached, {missed} missed, {not_quoted} not measurable");
        if let Some(path) = json {
            let text = serde_json::to_string_pretty(self)?;
            fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        Ok(if missed + not_quoted == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Counts a target, and names what became of it.
    pub fn judge(&mut self, reached: bool) -> &'static str {
        self.verdict(if reached { &Verdict::Pass } else { &Verdict::Miss })
    }

    /// Counts a verdict, and names it.
    pub fn verdict(&mut self, verdict: &Verdict) -> &'static str {
        let (count, text) = match verdict {
            Verdict::Pass => (&mut self.passed, "PASS"),
            Verdict::Miss => (&mut self.missed, "MISS"),
            Verdict::NotQuoted => (&mut self.not_quoted, "NO FIGURE"),
        };
        *count += 1;
        text
    }
}
