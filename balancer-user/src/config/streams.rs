//! The table of streams.

use std::{fmt, str::FromStr};

use super::UnknownName;

/// A kind of flow records, each with receivers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Netflow/Fullflow.
    Fullflow,
    /// Clickstream (HTTP and TLS sessions).
    Clickstream,
    /// DNS flow.
    Dnsflow,
    /// NAT flow.
    Natflow,
    /// GTP flow.
    Gtpflow,
}

/// What sets one stream apart from the others: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// As in the keys: `IPFIX_<name>_...`.
    pub name: &'static str,
    /// As in the names of handler threads.
    pub thread: &'static str,
    /// Default of `PORT`; `None` = the file must give one.
    pub port: Option<u16>,
    /// Default of `ROTATE_MINUTES`.
    pub rotate_minutes: u32,
    /// What its records tell, in a few words.
    pub about: &'static str,
}

impl Stream {
    /// Every stream, in the order of receivers in a [`super::Config`].
    pub const ALL: [Self; 5] =
        [Self::Fullflow, Self::Clickstream, Self::Dnsflow, Self::Natflow, Self::Gtpflow];

    /// The stream's row of the table.
    pub const fn info(self) -> StreamInfo {
        match self {
            Self::Fullflow => StreamInfo {
                name: "FULLFLOW",
                thread: "full",
                port: Some(1500),
                rotate_minutes: 10,
                about: "Netflow/Fullflow: every flow",
            },
            Self::Clickstream => StreamInfo {
                name: "CLICKSTREAM",
                thread: "click",
                port: Some(1501),
                rotate_minutes: 12,
                about: "Clickstream: HTTP and TLS sessions",
            },
            Self::Dnsflow => StreamInfo {
                name: "DNSFLOW",
                thread: "dns",
                port: None,
                rotate_minutes: 12,
                about: "DNS requests and answers",
            },
            Self::Natflow => StreamInfo {
                name: "NATFLOW",
                thread: "nat",
                port: Some(1503),
                rotate_minutes: 10,
                about: "NAT translations",
            },
            Self::Gtpflow => StreamInfo {
                name: "GTPFLOW",
                thread: "gtp",
                port: Some(1502),
                rotate_minutes: 10,
                about: "GTP sessions",
            },
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.info().name)
    }
}

impl FromStr for Stream {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|stream| stream.info().name == text).ok_or(UnknownName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for stream in Stream::ALL {
            assert_eq!(stream.to_string().parse(), Ok(stream));
        }
        assert_eq!("FLOW".parse::<Stream>(), Err(UnknownName));
    }
}
