//! `ipfix-balancer ui-account`: who may sign in to the web interface.

use std::{
    io::{self, BufRead, IsTerminal, Read},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Subcommand;

use super::{complain, print};
use crate::{
    config,
    ui::{
        accounts::{Accounts, MAX_PASSWORD, Role},
        data::Data,
    },
};

/// What is to be done with accounts.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Add an account, or give one another password and role. The password is asked for, or read from
    /// standard input.
    Add {
        /// The account's name.
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value = "admin")]
        role: Role,
    },
    /// Remove an account.
    Remove {
        /// The account's name.
        name: String,
    },
    /// Show names and roles.
    List,
}

pub fn ui_account(config: &Path, what: &What) -> ExitCode {
    match execute(config, what) {
        Ok(said) => {
            print(&said);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn execute(config: &Path, what: &What) -> anyhow::Result<String> {
    let settings = config::ui(config).with_context(|| config.display().to_string())?;
    let accounts = Accounts::new(Data::open(&settings.dir)?);
    match what {
        What::Add { name, role } => {
            accounts.put(name, &password()?, *role)?;
            Ok(format!("{name} may sign in, role {role}\n"))
        }
        What::Remove { name } => {
            accounts.remove(name)?;
            Ok(format!("{name} may not sign in any more\n"))
        }
        What::List => {
            let all = accounts.all()?.into_iter();
            Ok(all.map(|(name, account)| format!("{name}  {}\n", account.role)).collect())
        }
    }
}

fn password() -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        let most = u64::try_from(MAX_PASSWORD)? + 2;
        io::BufReader::new(io::stdin().lock().take(most)).read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let password = rpassword::prompt_password("Password: ")?;
    if rpassword::prompt_password("Once more: ")? != password {
        bail!("the two are not the same");
    }
    Ok(password)
}
