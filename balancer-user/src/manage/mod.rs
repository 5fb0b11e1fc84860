//! What a web interface asks of one balancer: the `.env` file as forms, changes to it, the state.
//!
//! The same question reaches a balancer on this host by a call, and one on another host as JSON
//! through `ipfix-balancer manage` there.

mod edit;
mod log;

use std::path::Path;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    config::{Change, Form, ReceiverForm},
    daemon::{self, Reply, Status},
};

pub use log::{Log, Wanted};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// The daemon's state.
    Status,
    /// The last lines of the daemon's log.
    Log(Wanted),
    /// The file as forms.
    Configuration,
    /// The form of a receiver that is not in the file yet.
    Blank {
        /// Its stream, as in keys.
        stream: String,
    },
    /// What these changes would come to. Nothing is written.
    Preview {
        /// In this order.
        changes: Vec<Change>,
    },
    /// What going back to the version before would come to. Nothing is written.
    Previous,
    /// Make these changes, and reload.
    Apply {
        /// The revision they were made from.
        revision: String,
        /// In this order.
        changes: Vec<Change>,
    },
    /// Bring back the version before, and reload.
    Undo {
        /// The revision to be undone.
        revision: String,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The daemon's state.
    Status(Box<Status>),
    /// Lines of the log.
    Log(Log),
    /// The file.
    Configuration(Configuration),
    /// A form.
    Blank(ReceiverForm),
    /// What changes would come to.
    Preview(Preview),
    /// The file is changed.
    Applied(Applied),
    /// Nothing was changed: the file is not what the changes were made from any more.
    Conflict,
    /// Nothing was changed: the result would have faults.
    Faulty(Preview),
    /// Something else went wrong; nothing was changed.
    Failed(String),
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Configuration {
    /// Where it is.
    pub path: String,
    /// Names its content.
    pub revision: String,
    /// What it says.
    pub form: Form,
    /// Whether there is a version before, to which one can go back.
    pub can_undo: bool,
}

/// What changes come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The lines that change, as `diff -u` shows them; empty when none does.
    pub diff: String,
    /// The result.
    pub form: Form,
}

/// Changes that were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The lines that have changed.
    pub diff: String,
    /// Names the new content.
    pub revision: String,
    /// What the daemon said of the reload, or why it could not be asked.
    pub reload: String,
    /// Whether the daemon works with it.
    pub in_force: bool,
}

/// Answers for the balancer of this host that runs with `config`.
pub fn answer(config: &Path, question: &Question) -> Answer {
    let answered = match question {
        Question::Status => status(config),
        Question::Log(wanted) => log::lines(config, wanted),
        Question::Configuration => edit::configuration(config),
        Question::Blank { stream } => edit::first_blank(config, stream),
        Question::Preview { changes } => edit::preview(config, changes),
        Question::Previous => edit::preview_undo(config),
        Question::Apply { revision, changes } => edit::apply(config, revision, changes),
        Question::Undo { revision } => edit::undo(config, revision),
    };
    answered.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")))
}

/// What is said of an answer that nobody has asked for.
const MISUNDERSTOOD: &str = "the daemon gave another answer than that";

fn status(config: &Path) -> anyhow::Result<Answer> {
    match daemon::ask(config, daemon::Request::Status)? {
        Reply::Status(status) => Ok(Answer::Status(status)),
        Reply::Failed(what) | Reply::Refused(what) | Reply::Done(what) => Ok(Answer::Failed(what)),
        Reply::Log(_) => Ok(Answer::Failed(MISUNDERSTOOD.to_owned())),
    }
}
