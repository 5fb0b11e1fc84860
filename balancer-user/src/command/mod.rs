//! The subcommands of `ipfix-balancer`, each with its exit code.

mod client;
mod doctor;
mod generate;
mod import;
mod inspect;
mod load;
mod manage;
mod spool;
mod top;
mod ui;
mod ui_account;

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    config::{self, DEFAULT_PATH, LoadError},
    daemon, log,
};

/// Passes IPFIX messages from exporters on to several collectors, or records them.
#[derive(Debug, Parser)]
#[command(name = "ipfix-balancer", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, value_name = "FILE", global = true, default_value = DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  ipfix-balancer check --config ./my.env     what the file says, and all that is wrong with it
  ipfix-balancer run                         the daemon, in the foreground
  ipfix-balancer status --json               its state and counters
  ipfix-balancer top                         the same, live
  ipfix-balancer ui                          the web interface, alone
  ipfix-balancer doctor                      what is wrong, and what to do
  ipfix-balancer inspect dump.ipfix          what is in a dump file, an IPFIX File or a capture
  ipfix-balancer spool list                  what waits on disk for collectors that are away
  ipfix-balancer reload                      apply an edited file; exporters stay connected
  ipfix-balancer rotate                      begin new dump files now

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
IPFIX_BALANCER_LOG sets the log level at start: error, warn, info (default), debug, trace.";

const IMPORT_EXAMPLES: &str = "Examples:
  ipfix-balancer import ipfixcol2 /etc/ipfixcol2/startup.xml > my.env
  ipfix-balancer import --stream CLICKSTREAM pmacct /etc/pmacct/nfacctd.conf
  ipfix-balancer import samplicator -p 2055 -c samplicator.conf 10.0.0.1/9995";

const INSPECT_EXAMPLES: &str = "Examples:
  ipfix-balancer inspect dump/*.ipfix.zst --summary
  ipfix-balancer inspect --format json dump.ipfix | jq -c 'select(.template == 256) | .fields'
  tcpdump -i eth0 -w - port 1500 | ipfix-balancer inspect -";

const SPOOL_EXAMPLES: &str = "Examples:
  ipfix-balancer spool list
  ipfix-balancer spool list --json | jq '.[] | select(.messages > 1000)'
  ipfix-balancer spool purge --receiver 'FULLFLOW[0]' --destination 10.19.3.21/1500/tcp";

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration and show what it comes to; touches nothing.
    #[command(after_help = "Example:\n  ipfix-balancer check --config ./my.env")]
    Check,
    /// Write a commented configuration file, manual pages and shell completions.
    ///
    /// They say what this version knows: every parameter with its default, every subcommand. Packages
    /// bring them along.
    #[command(after_help = "Example:\n  ipfix-balancer generate ./files && cp ./files/.env my.env")]
    Generate {
        /// Where to: created if it is not there; files of these names are replaced.
        folder: PathBuf,
    },
    /// Make a configuration of another program's: IPFIXcol2, pmacct, samplicator.
    ///
    /// It goes to standard output. What could not be carried over stands there in comments, and on
    /// standard error.
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(import::Import),
    /// Look for trouble: configuration, daemon, kernel, rights, limits, network, clock, disk.
    ///
    /// Says of each what was found and what to do. Changes nothing; where no daemon runs, it tries
    /// the ports, and connects once to every collector over TCP. The exit code is 1 if anything has failed.
    #[command(
        after_help = "Example:\n  ipfix-balancer doctor --json | jq '.[] | select(.verdict != \"ok\")'"
    )]
    Doctor {
        /// As JSON: a list of check, verdict (ok, warn, fail), found and advice.
        #[arg(long)]
        json: bool,
    },
    /// Show what is in dump files, IPFIX Files and captures.
    ///
    /// Records go to standard output, what is wrong with a file to standard error. A broken message
    /// is left out, and reading goes on with the next; the exit code is 1 then.
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(inspect::Inspect),
    /// Apply the edited configuration file without a restart.
    ///
    /// A faulty file changes nothing. Receivers and destinations that stay keep their connections.
    #[command(after_help = "Example:\n  ipfix-balancer reload")]
    Reload,
    /// Put programs and destinations into the kernel, and end.
    ///
    /// What a daemon does first: it finds and takes over what is there. Destinations are looked up
    /// once. `stop --purge` takes all of it away.
    #[command(after_help = "Example:\n  ipfix-balancer load --config ./my.env")]
    Load,
    /// Take over from the running daemon, for example after an upgrade, and run in its place.
    ///
    /// In the foreground, like `run`. Exporters stay connected, and nothing is lost. A faulty configuration
    /// file changes nothing. A daemon that systemd runs is restarted by `systemctl restart`.
    #[command(after_help = "Example:\n  ipfix-balancer restart --config ./my.env")]
    Restart {
        /// Form of the log lines.
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
        log_format: log::Format,
    },
    /// Change which lines the running daemon logs, until it ends.
    #[command(after_help = "Example:\n  ipfix-balancer log-level debug")]
    LogLevel {
        /// Lines of this level and of more urgent ones are logged.
        #[arg(value_enum)]
        level: log::Level,
    },
    /// Answer one question of a web interface: JSON in, JSON out.
    ///
    /// A web interface on another host runs it over SSH.
    #[command(after_help = "Example:\n  echo '\"status\"' | ipfix-balancer manage")]
    Manage,
    /// Begin new dump files now.
    ///
    /// For every receiver that records (BALANCER=Disabled). Ends when the files up to now have their
    /// final names.
    #[command(after_help = "Example:\n  ipfix-balancer rotate && ls /var/fast_ipfix_balancer/dump")]
    Rotate,
    /// Run the daemon in the foreground.
    ///
    /// SIGHUP reloads the configuration, SIGTERM sends what waits and stops. Under systemd the sockets
    /// stay open for the next daemon.
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// Form of the log lines.
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
        log_format: log::Format,
    },
    /// Show or drop what waits on disk for destinations that are away.
    #[command(subcommand, after_help = SPOOL_EXAMPLES)]
    Spool(spool::Spool),
    /// Show state and counters of the running daemon.
    #[command(after_help = "Example:\n  ipfix-balancer status --json | jq '.receivers[].dropped'")]
    Status {
        /// As JSON; its form is stable.
        #[arg(long)]
        json: bool,
    },
    /// Stop the running daemon: it sends what waits, then ends.
    ///
    /// The kernel goes on forwarding established UDP sessions, for the next daemon to take over.
    #[command(after_help = "Example:\n  ipfix-balancer stop")]
    Stop {
        /// Leave nothing in the kernel: no programs, links, maps or pins. No daemon need be running.
        #[arg(long)]
        purge: bool,
    },
    /// Watch receivers and destinations: rates, queues, CPU, path.
    #[command(after_help = "Example:\n  ipfix-balancer top --seconds 5")]
    Top {
        /// Time between two looks.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
    },
    /// Serve the web interface alone, in the foreground.
    ///
    /// A daemon serves it itself where IPFIX_UI_LISTEN is set. This takes no running daemon: what is
    /// applied is in force when one starts.
    #[command(after_help = "Example:\n  ipfix-balancer ui --listen 127.0.0.1:8080")]
    Ui {
        /// Address and port; else those of IPFIX_UI_LISTEN, else 127.0.0.1:8080. By TLS unless on loopback.
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
        /// Form of the log lines.
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
        log_format: log::Format,
    },
    /// Say who may sign in to the web interface.
    ///
    /// It takes effect at once. Who is removed or gets another password is signed out.
    #[command(after_help = ACCOUNT_EXAMPLES)]
    UiAccount {
        #[command(subcommand)]
        what: ui_account::What,
    },
}

const ACCOUNT_EXAMPLES: &str = "Examples:
  ipfix-balancer ui-account add ann                       asks for the password
  ipfix-balancer ui-account add --role read-only bob < password-file
  ipfix-balancer ui-account list
  ipfix-balancer ui-account remove bob";

const RUN_EXAMPLES: &str = "Examples:
  ipfix-balancer run --config ./my.env
  ipfix-balancer run --log-format json 2>> balancer.log
  journalctl -t IPFIXcol2 REASON=queue_full     lines of the journal, by their fields";

/// Wrong usage or configuration.
const EXIT_CONFIGURATION: u8 = 2;

/// Does what the command line says.
pub fn execute(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Check => check(&cli.config),
        Command::Generate { folder } => generate::generate(&folder),
        Command::Import(arguments) => import::import(&arguments),
        Command::Doctor { json } => doctor::doctor(&cli.config, json),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Reload => client::reload(&cli.config),
        Command::LogLevel { level } => client::log_level(&cli.config, level),
        Command::Load => load::load(&cli.config),
        Command::Restart { log_format } => run(&cli.config, log_format, daemon::restart),
        Command::Manage => manage::manage(&cli.config),
        Command::Rotate => client::rotate(&cli.config),
        Command::Run { log_format } => run(&cli.config, log_format, daemon::run),
        Command::Spool(what) => spool::spool(&cli.config, &what),
        Command::Status { json } => client::status(&cli.config, json),
        Command::Stop { purge: false } => client::stop(&cli.config),
        Command::Stop { purge: true } => client::purge(&cli.config),
        Command::Ui { listen, log_format } => ui::ui(&cli.config, listen, log_format),
        Command::UiAccount { what } => ui_account::ui_account(&cli.config, &what),
        Command::Top { seconds } => top::top(&cli.config, seconds),
    }
}

fn check(config: &Path) -> ExitCode {
    let report = config::check(config);
    print(&report.text);
    if report.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIGURATION) }
}

fn run(
    config: &Path,
    log_format: log::Format,
    daemon: fn(&Path) -> anyhow::Result<()>,
) -> ExitCode {
    log::start(log_format);
    match daemon(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Logs what went wrong.
fn fail(error: &anyhow::Error) -> ExitCode {
    tracing::error!("{error:#}");
    match error.downcast_ref::<LoadError>() {
        Some(_) => ExitCode::from(EXIT_CONFIGURATION),
        None => ExitCode::FAILURE,
    }
}

/// Prints to standard output. A reader that has gone away (`| head`) is no fault of ours.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Says what failed.
fn complain(error: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "ipfix-balancer: {error}");
}
