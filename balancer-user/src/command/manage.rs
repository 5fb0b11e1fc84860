//! `ipfix-balancer manage`: one question of a web interface on another host, and its answer.

use std::{
    io::{self, Read},
    path::Path,
    process::ExitCode,
};

use super::{complain, print};
use crate::manage::{self, Question};

/// The longest question, in bytes: a file with every receiver and parameter is a tenth of it.
const MAX_QUESTION: u64 = 4 << 20;

/// Reads a question as JSON from standard input, and prints the answer.
pub fn manage(config: &Path) -> ExitCode {
    match read() {
        Ok(question) => match serde_json::to_string(&manage::answer(config, &question)) {
            Ok(answer) => {
                print(&format!("{answer}\n"));
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
        Err(error) => fail(&error),
    }
}

fn read() -> io::Result<Question> {
    let mut text = Vec::new();
    io::stdin().lock().take(MAX_QUESTION).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    complain(&format!("manage: {error}"));
    ExitCode::FAILURE
}
