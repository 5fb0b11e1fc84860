//! `ipfix-balancer spool`: what waits on disk.

use std::{path::Path, process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use jiff::Timestamp;

use super::{EXIT_CONFIGURATION, client, complain, print};
use crate::{
    config::{Config, Receiver},
    daemon::{ControlError, Request, ask},
    spool::{self, ANY, Listed},
};

/// What to do with the spools.
#[derive(Debug, Subcommand)]
pub enum Spool {
    /// List them, oldest first; no daemon need be running.
    List {
        #[command(flatten)]
        which: Which,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Drop all messages in them. The running daemon counts them as `spool_purged`.
    Purge {
        #[command(flatten)]
        which: Which,
    },
}

/// Which spools; all, if nothing is said.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// Of this receiver, for example `FULLFLOW[0]`.
    #[arg(long)]
    receiver: Option<String>,
    /// For this destination, for example `10.19.3.21/1500/tcp`; `any`: messages that have had no turn.
    #[arg(long)]
    destination: Option<String>,
}

pub fn spool(config: &Path, what: &Spool) -> ExitCode {
    let checked = match Config::load(config) {
        Ok(checked) => checked,
        Err(error) => {
            complain(&error);
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    let Config { receivers, launched, .. } = &checked.config;
    let (Spool::List { which, .. } | Spool::Purge { which }) = what;
    let named = |receiver: &&Arc<Receiver>| {
        which.receiver.as_ref().is_none_or(|name| receiver.id.to_string() == *name)
    };
    let receivers: Vec<_> = receivers.iter().chain(launched).filter(named).collect();
    if receivers.is_empty() {
        complain(&"there is no such receiver in the configuration");
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    match what {
        Spool::List { which, json } => list(&receivers, which, *json),
        Spool::Purge { which } => purge(config, &receivers, which),
    }
}

fn list(receivers: &[&Arc<Receiver>], which: &Which, json: bool) -> ExitCode {
    let mut listed = Vec::new();
    for receiver in receivers {
        match spool::list(&receiver.spool.dir, receiver.id) {
            Ok(spools) => listed.extend(spools),
            Err(error) => {
                let dir = spool::directory(&receiver.spool.dir, receiver.id);
                complain(&format!("can't read {}: {error}", dir.display()));
                return ExitCode::FAILURE;
            }
        }
    }
    let wanted = |one: &Listed| {
        let name = one.label.destination.as_deref().unwrap_or(ANY);
        which.destination.as_ref().is_none_or(|wanted| wanted == name)
    };
    listed.retain(wanted);
    match json {
        true => print(&(serde_json::to_string_pretty(&listed).unwrap_or_default() + "\n")),
        false => print(&describe(&listed)),
    }
    ExitCode::SUCCESS
}

fn describe(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return "nothing is spooled\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["receiver", "destination", "exporter", "messages", "bytes", "since"]);
    for Listed { label, messages, bytes, since_unix_seconds } in listed {
        let since = i64::try_from(*since_unix_seconds).ok();
        let since = since.and_then(|seconds| Timestamp::from_second(seconds).ok());
        table.add_row([
            label.receiver.clone(),
            label.destination.clone().unwrap_or_else(|| ANY.to_owned()),
            label.exporter.to_string(),
            messages.to_string(),
            bytes.to_string(),
            since.map(|since| since.to_string()).unwrap_or_default(),
        ]);
    }
    format!("{table}\n")
}

fn purge(config: &Path, receivers: &[&Arc<Receiver>], which: &Which) -> ExitCode {
    let request = Request::PurgeSpool {
        receiver: which.receiver.clone(),
        destination: which.destination.clone(),
    };
    match ask(config, request) {
        Err(ControlError::NotRunning { .. }) => {}
        reply => return client::show(reply, |_| String::new()),
    }
    let mut purged = 0;
    for receiver in receivers {
        match spool::purge(receiver, which.destination.as_deref()) {
            Ok(messages) => purged += messages,
            Err(error) => {
                complain(&format!("can't empty the spool of {}: {error}", receiver.id));
                return ExitCode::FAILURE;
            }
        }
    }
    print(&format!("purged: {purged} messages\n"));
    ExitCode::SUCCESS
}
