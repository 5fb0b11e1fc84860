//! An exporter that is a program with a socket, unlike the generator.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use super::scene::Scene;
use crate::bench::Plan;
use crate::bench::message::Sizes;
use crate::bench::page::{Page, Phase};
use crate::process::{Output, Placement, Process, wait_until};

/// How long its first template may take to the collector.
const LIMIT: Duration = Duration::from_secs(20);

/// One, running. Dropping it ends it.
pub struct Sender {
    // In the order in which they end.
    process: Process,
    page: Page,
    _directory: TempDir,
}

impl Sender {
    /// Starts it; it has sent templates when this returns. So many messages per second will follow; 0:
    /// as many as go out.
    pub fn start(
        plan: &Plan,
        scene: &Scene,
        placement: &Placement,
        target: SocketAddr,
        rate: u32,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("ipfix-bench-").tempdir()?;
        let path = directory.path().join("page");
        let page = Page::open(&path)?;
        let before = scene.delivered()?;
        let arguments = [
            "bench-part".to_owned(),
            "exporter".to_owned(),
            format!("--page={}", path.display()),
            "--protocol=udp".to_owned(),
            format!("--sizes={}", Sizes::Varied),
            format!("--rate={rate}"),
            format!("--target={target}"),
        ];
        let arguments = arguments.map(OsString::from);
        let mut process =
            Process::start("exporter", placement, &plan.parts, arguments, Output::Shown)?;
        wait_until("a template arrives", LIMIT, || {
            process.check_running()?;
            Ok((scene.delivered()? > before).then_some(()))
        })?;
        Ok(Self { process, page, _directory: directory })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Tells it what to do.
    pub fn set_phase(&self, phase: Phase) {
        self.page.set_phase(phase);
    }
}
