//! Builds that later steps take, made beside the tests: these wait for other processes more than they compute.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// Builds that are under way. Cargo's locks have a step wait for the one that it takes; one that has failed
/// is tried again there, and says why.
#[derive(Default)]
pub struct Beside(Vec<Child>);

impl Beside {
    /// Runs a command with the CPU time that nobody else wants.
    pub fn start(&mut self, command: &Command) -> Result<()> {
        let mut niced = Command::new("nice");
        niced.args(["-n", "19"]).arg(command.get_program()).args(command.get_args());
        niced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = command.get_current_dir() {
            niced.current_dir(directory);
        }
        niced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.0.push(niced.spawn().context("cannot start nice")?);
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It is over, unless a step before it has been left early.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
