//! The web interface as part of the daemon: `IPFIX_UI_LISTEN`.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{
    config::Ui,
    ui::{self, Running},
};

/// The interface; there is none while no address is configured.
pub struct Interface {
    config: PathBuf,
    running: Option<(Ui, Running)>,
}

impl Interface {
    /// None is running yet.
    pub fn new(config: &Path) -> Interface {
        Interface { config: config.to_owned(), running: None }
    }

    /// Serves it by these settings from now on. Who is signed in stays so if they are the same.
    pub fn serve(&mut self, settings: &Ui) -> anyhow::Result<()> {
        if self.running.as_ref().is_some_and(|(current, _)| current == settings) {
            return Ok(());
        }
        // The new one may have to have the port of the old one.
        self.running = None;
        if let Some(address) = settings.listen {
            let running = ui::start(&self.config, settings, address)
                .with_context(|| format!("IPFIX_UI_LISTEN={address}"))?;
            self.running = Some((settings.clone(), running));
        }
        Ok(())
    }
}
