//! Lines of the log, picked.

use std::path::Path;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Answer, MISUNDERSTOOD};
use crate::{
    daemon::{self, Reply, Request},
    log::{Level, LogLine},
};

/// Which lines are wanted. What is not given does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Lines after this one: `newest` of an earlier answer.
    pub after: Option<u64>,
    /// Lines of this level and of more urgent ones.
    pub level: Option<Level>,
    /// Lines about this receiver, for example `FULLFLOW[0]`.
    pub receiver: Option<String>,
    /// Lines with this text, in any letter case.
    pub text: Option<String>,
}

/// Lines of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Log {
    /// Those that are wanted, the oldest first.
    pub lines: Vec<LogLine>,
    /// Names the last line, wanted or not: what follows is `after` it.
    pub newest: u64,
}

pub(super) fn lines(config: &Path, wanted: &Wanted) -> anyhow::Result<Answer> {
    let after = wanted.after.unwrap_or_default();
    match daemon::ask(config, Request::Log { after })? {
        Reply::Log(lines) => Ok(Answer::Log(pick(lines, wanted))),
        Reply::Failed(what) | Reply::Refused(what) => Ok(Answer::Failed(what)),
        Reply::Done(_) | Reply::Status(_) => bail!(MISUNDERSTOOD),
    }
}

fn pick(mut lines: Vec<LogLine>, wanted: &Wanted) -> Log {
    let newest = lines.last().map_or(wanted.after.unwrap_or_default(), |line| line.at);
    let text = wanted.text.as_deref().map(str::to_lowercase);
    lines.retain(|line| {
        wanted.level.is_none_or(|level| line.level <= level)
            && wanted.receiver.as_ref().is_none_or(|name| line.receiver.as_ref() == Some(name))
            && text.as_ref().is_none_or(|text| line.text.to_lowercase().contains(text))
    });
    Log { lines, newest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, level: Level, receiver: Option<&str>, text: &str) -> LogLine {
        let receiver = receiver.map(str::to_owned);
        LogLine { at, level, receiver, destination: None, text: text.to_owned() }
    }

    fn picked(wanted: &Wanted) -> (Vec<u64>, u64) {
        let lines = vec![
            line(1, Level::Error, Some("DNSFLOW[0]"), "Down"),
            line(2, Level::Info, Some("DNSFLOW[0]"), "up"),
            line(3, Level::Warn, None, "down"),
            line(4, Level::Debug, None, "x"),
        ];
        let log = pick(lines, wanted);
        (log.lines.iter().map(|line| line.at).collect(), log.newest)
    }

    #[test]
    fn lines_are_picked_by_level_receiver_and_text() {
        assert_eq!(picked(&Wanted::default()), (vec![1, 2, 3, 4], 4));
        let level = Some(Level::Warn);
        assert_eq!(picked(&Wanted { level, ..Wanted::default() }), (vec![1, 3], 4));
        let receiver = Some("DNSFLOW[0]".to_owned());
        assert_eq!(picked(&Wanted { receiver, ..Wanted::default() }), (vec![1, 2], 4));
        let text = Some("DOWN".to_owned());
        assert_eq!(picked(&Wanted { text, ..Wanted::default() }), (vec![1, 3], 4));
    }

    #[test]
    fn without_new_lines_the_place_stays() {
        let wanted = Wanted { after: Some(7), ..Wanted::default() };
        assert_eq!(pick(Vec::new(), &wanted), Log { lines: Vec::new(), newest: 7 });
    }
}
