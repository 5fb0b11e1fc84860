//! What is shown.

use jiff::Timestamp;

use super::report::Message;
use crate::config::Stream;

/// What is asked for; `None` asks for everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Messages of this stream alone.
    pub stream: Option<Stream>,
    /// Templates with this id and their records alone.
    pub template: Option<u16>,
    /// Messages exported at this time or later.
    pub from: Option<Timestamp>,
    /// Messages exported before this time.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Whether a message is asked for.
    pub fn takes(&self, message: &Message) -> bool {
        let time = message.time();
        self.stream.is_none_or(|stream| message.session.stream == Some(stream))
            && self.from.is_none_or(|from| from <= time)
            && self.to.is_none_or(|to| time < to)
    }

    /// Whether a template and its records are asked for.
    pub fn takes_template(&self, id: u16) -> bool {
        self.template.is_none_or(|template| template == id)
    }
}
