//! `ipfix-balancer import`: other programs' configurations as an `.env` file.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::{EXIT_CONFIGURATION, complain, print};
use crate::{
    config::{Config, Environment, MAX_INDEX, Stream},
    import::{self, ImportError, Imported, Samplicate},
};

/// Names the text in messages.
const OUTPUT: &str = "imported .env";

/// What `import` takes.
#[derive(Debug, Args)]
pub struct Import {
    /// The stream of the receivers.
    #[arg(long, value_parser = super::inspect::streams(), ignore_case = true, default_value = "FULLFLOW")]
    stream: Stream,
    /// Index of the first receiver; the others count on.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_INDEX)))]
    index: u32,
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// IPFIXcol2: a startup file with forwarder or ipfix outputs.
    Ipfixcol2 {
        /// The startup file (XML).
        file: PathBuf,
    },
    /// pmacct: a configuration of nfacctd with the tee plugin.
    Pmacct {
        /// The configuration file.
        file: PathBuf,
    },
    /// samplicator: the arguments of samplicate.
    Samplicator(Samplicate),
}

/// Prints the `.env` file; what could not be carried over goes to standard error, too.
pub fn import(arguments: &Import) -> ExitCode {
    let Imported { env, notes } = match read(arguments) {
        Ok(imported) => imported,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    print(&env);
    for note in notes {
        complain(&format!("not carried over: {note}"));
    }
    match Config::parse(Path::new(OUTPUT), &env, &Environment::gather()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(faults) => {
            complain(&faults);
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

fn read(arguments: &Import) -> Result<Imported, ImportError> {
    let receivers = match &arguments.from {
        From::Ipfixcol2 { file } => import::ipfixcol2(file),
        From::Pmacct { file } => import::pmacct(file),
        From::Samplicator(arguments) => import::samplicator(arguments),
    }?;
    import::write(&receivers, arguments.stream, arguments.index)
}
