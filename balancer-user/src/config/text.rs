//! From the text of a file to its statements, `KEY=value`, and from there to plain values.
//!
//! `dotenvy` alone refuses bracketed keys, blanks in unquoted values and the byte order mark, and
//! it replaces `$NAME` from the environment. Hence each value is brought into the one form that it
//! always reads the same way, in double quotes with every `$` escaped: a value is literal, and
//! neither the environment nor another line of the file gets into it.

use super::Reason;

/// Starts the keys that are ours. All others belong to other programs.
pub(super) const PREFIX: &str = "IPFIX_";

/// One line of the file, or several when a quoted value spans them.
///
/// All lines' `raw` joined together are the file, byte for byte.
#[derive(Debug, PartialEq)]
pub(super) struct Line<'a> {
    /// Number of its first line in the file, from 1.
    pub number: usize,
    /// As in the file, with its line end.
    pub raw: &'a str,
    /// `None` for comments and blank lines.
    pub statement: Option<Statement<'a>>,
}

/// What a line assigns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Statement<'a> {
    /// Without `export` and blanks.
    pub key: &'a str,
    /// As written, with quotes and comment; `None` when there is no `=`.
    pub value: Option<&'a str>,
}

/// Cuts a text into lines.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let (mut rest, mut number) = (text, 1);
    while !rest.is_empty() {
        let end = joined_end(rest).unwrap_or_else(|| line_end(rest, 0));
        let (raw, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        lines.push(Line { number, raw, statement: statement(raw) });
        number += raw.matches('\n').count();
        rest = tail;
    }
    lines
}

/// The plain value of what stands after the `=`.
pub(super) fn value(written: &str) -> Result<String, Reason> {
    let written = written.trim();
    let plain = if let Some(rest) = written.strip_prefix('"') {
        protect_dollars(quoted(rest, '"')?)
    } else if let Some(rest) = written.strip_prefix('\'') {
        escape(quoted(rest, '\'')?)
    } else {
        escape(without_comment(written))
    };
    let line = format!("VALUE=\"{plain}\"");
    match dotenvy::from_read_iter(line.as_bytes()).next() {
        Some(Ok((_, value))) if value.contains(char::REPLACEMENT_CHARACTER) => Err(Reason::NotUtf8),
        Some(Ok((_, value))) => Ok(value.trim().to_owned()),
        Some(Err(_)) | None => Err(Reason::BadEscape),
    }
}

/// What stands after an `=`.
#[derive(Debug, PartialEq)]
pub(super) struct Parts<'a> {
    pub blank: &'a str,
    /// With its quotes, if it has any.
    pub value: &'a str,
    /// Blanks, a comment, the line end.
    pub tail: &'a str,
}

/// Takes apart what stands after an `=`.
pub(super) fn parts(written: &str) -> Parts<'_> {
    let rest = written.trim_start_matches([' ', '\t']);
    let blank = written.get(..written.len() - rest.len()).unwrap_or_default();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let closed = quote.and_then(|quote| Some(closing(rest.get(1..)?, quote)? + 2));
    let closed = closed.filter(|end| rest.get(*end..).is_some_and(only_comment));
    let end = closed.unwrap_or_else(|| without_comment(rest).len());
    let (value, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
    Parts { blank, value, tail }
}

/// End of the line that `from` is in, behind its `\n`.
fn line_end(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.find('\n').map_or(text.len(), |at| from + at + 1)
}

/// End of a statement whose quoted value goes on in later lines.
///
/// A stray quote must not swallow the lines below it: the first quote that follows has to end its
/// line, but for a comment.
fn joined_end(text: &str) -> Option<usize> {
    let first = text.get(..line_end(text, 0))?;
    let written = statement(first)?.value?.trim_start();
    let quote = written.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inside = written.get(1..)?;
    if closing(inside, quote).is_some() {
        return None;
    }
    // `inside` is the end of `first`, so lengths give its position.
    let start = first.len() - inside.len();
    let close = start + closing(text.get(start..)?, quote)?;
    let end = line_end(text, close);
    only_comment(text.get(close + 1..end)?).then_some(end)
}

fn statement(line: &str) -> Option<Statement<'_>> {
    // The mark is found inside a file, too, when two files were put together.
    let line = line.trim_start_matches('\u{feff}').trim_start();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest,
        _ => line,
    };
    Some(match line.split_once('=') {
        Some((key, value)) => Statement { key: key.trim(), value: Some(value) },
        None => Statement { key: line.trim(), value: None },
    })
}

/// What stands between the quotes; `rest` begins behind the first.
fn quoted(rest: &str, quote: char) -> Result<&str, Reason> {
    let close = closing(rest, quote).ok_or(Reason::UnclosedQuote)?;
    let (inside, tail) = rest.split_at_checked(close).ok_or(Reason::UnclosedQuote)?;
    match tail.strip_prefix(quote) {
        Some(tail) if only_comment(tail) => Ok(inside),
        _ => Err(Reason::TextAfterQuote),
    }
}

/// Position of the closing quote. A backslash hides one only in double quotes.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut hidden = false;
    text.char_indices().find_map(|(at, char)| {
        let found = char == quote && !hidden;
        hidden = quote == '"' && char == '\\' && !hidden;
        found.then_some(at)
    })
}

fn only_comment(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('#')
}

/// An unquoted value ends at a `#` that begins it or follows a blank.
fn without_comment(text: &str) -> &str {
    let mut blank = true;
    let end = text.char_indices().find_map(|(at, char)| {
        let comment = char == '#' && blank;
        blank = char.is_whitespace();
        comment.then_some(at)
    });
    end.and_then(|end| text.get(..end)).unwrap_or(text).trim_end()
}

/// Literal text, for use in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '\\' | '"' | '$') {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

/// Text from double quotes, escape sequences left to `dotenvy`, for use in double quotes.
fn protect_dollars(text: &str) -> String {
    let mut protected = String::with_capacity(text.len());
    let mut hidden = false;
    for char in text.chars() {
        if char == '$' && !hidden {
            protected.push('\\');
        }
        hidden = char == '\\' && !hidden;
        protected.push(char);
    }
    protected
}
