//! Kinds of values: how a text is read, and what is allowed.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
};

use ipnet::IpNet;

use super::{MAX_COPIES, MAX_DESTINATIONS};
use crate::config::{Reason, names::Switch, nearest::nearest};

/// Highest CPU number: the kernel's own limit on the largest machines.
const MAX_CPU: usize = 8191;

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Kind {
    /// An IP address.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A command line.
    Command,
    /// `ip/port/proto, ...`, or a bare number for none.
    Copies,
    /// CPU numbers as `taskset -c` takes them.
    Cpus,
    /// `ip/port, ...`.
    Destinations,
    /// `address:port` or `off`.
    Listen,
    /// Networks.
    Networks,
    /// A whole number.
    Number { min: i64, max: i64, unit: &'static str },
    /// An absolute path.
    Path,
    /// A name without blanks.
    Word,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("an IPv4 or IPv6 address"),
            Self::Choice(words) => f.write_str(&words.join(", ")),
            Self::Command => f.write_str("a command line"),
            Self::Copies => write!(
                f,
                "ip/port/proto, ip/port/proto (at most {MAX_COPIES}; a bare number means none)"
            ),
            Self::Cpus => f.write_str("CPUs as for taskset -c, such as 61 or 2,3 or 4-7"),
            Self::Destinations => write!(f, "ip/port, ip/port (at most {MAX_DESTINATIONS})"),
            Self::Listen => f.write_str("address:port, or off"),
            Self::Networks => f.write_str("networks, such as 10.0.0.0/8, 2001:db8::/32"),
            Self::Number { min, max, unit: "" } => write!(f, "{min} to {max}"),
            Self::Number { min, max, unit } => write!(f, "{min} to {max} {unit}"),
            Self::Path => f.write_str("an absolute path"),
            Self::Word => f.write_str("a name"),
        }
    }
}

/// One thing that is wrong with a value.
#[derive(Debug, PartialEq)]
pub(in crate::config) struct Bad {
    /// The offending part of the value; `None` = all of it.
    pub part: Option<String>,
    pub reason: Reason,
    pub nearest: Option<String>,
}

impl Bad {
    pub fn whole(reason: Reason) -> Self {
        Self { part: None, reason, nearest: None }
    }

    pub fn part(part: &str, reason: Reason) -> Self {
        Self { part: Some(part.to_owned()), reason, nearest: None }
    }
}

impl From<Reason> for Vec<Bad> {
    fn from(reason: Reason) -> Self {
        vec![Bad::whole(reason)]
    }
}

impl Kind {
    /// A word of a [`Kind::Choice`].
    pub fn choice<T: FromStr>(&self, text: &str) -> Result<T, Vec<Bad>> {
        if text.is_empty() {
            return Err(Reason::Empty.into());
        }
        text.parse().map_err(|_| {
            let words = if let Self::Choice(words) = self { *words } else { &[] };
            let nearest = nearest(text, text, words.iter().map(|word| (*word).to_owned()));
            vec![Bad { part: None, reason: Reason::UnknownValue, nearest }]
        })
    }

    /// A word that means yes or no.
    pub fn switch(&self, text: &str) -> Result<bool, Vec<Bad>> {
        self.choice::<Switch>(text).map(bool::from)
    }

    /// A number within the bounds of a [`Kind::Number`].
    pub fn number<T: TryFrom<i64>>(&self, text: &str) -> Result<T, Vec<Bad>> {
        if text.is_empty() {
            return Err(Reason::Empty.into());
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Reason::NotANumber.into());
        }
        // More digits than fit are a number, too: one that is out of range.
        let number = text.parse::<i64>().ok().filter(|number| self.range().contains(number));
        number.and_then(|number| number.try_into().ok()).ok_or_else(|| Reason::OutOfRange.into())
    }

    fn range(&self) -> RangeInclusive<i64> {
        if let Self::Number { min, max, .. } = *self { min..=max } else { i64::MIN..=i64::MAX }
    }
}

/// An address; `[::1]` is one as well.
pub(super) fn address(text: &str) -> Result<Option<IpAddr>, Vec<Bad>> {
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map(Some).map_err(|_| Reason::BadValue("not an IP address").into())
}

/// A socket address, with `:` or `/` before the port.
pub(super) fn listen(text: &str) -> Result<Option<SocketAddr>, Vec<Bad>> {
    if text.is_empty() || text.eq_ignore_ascii_case(Switch::Off.name()) {
        return Ok(None);
    }
    if let Some(address) = text.parse().ok().or_else(|| listen_slash(text)) {
        return if address.port() == 0 {
            Err(Reason::OutOfRange.into())
        } else {
            Ok(Some(address))
        };
    }
    Err(Reason::BadValue("not an address and port").into())
}

fn listen_slash(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once('/')?;
    Some(SocketAddr::new(address(ip).ok()??, port.parse().ok()?))
}

/// Networks, separated by commas. A bare address is the network of just that host.
pub(super) fn networks(text: &str) -> (Vec<IpNet>, Vec<Bad>) {
    let network = |part: &str| {
        let network = part.parse::<IpNet>().ok();
        network.or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from)).map(|net| net.trunc())
    };
    list(text, |part| {
        network(part).ok_or_else(|| Bad::part(part, Reason::BadElement("not a network")))
    })
}

/// An absolute path.
pub(super) fn path(text: &str) -> Result<PathBuf, Vec<Bad>> {
    match text {
        "" => Err(Reason::Empty.into()),
        text if text.starts_with('/') => Ok(text.into()),
        _ => Err(Reason::BadValue("not an absolute path").into()),
    }
}

/// A name.
pub(super) fn word(text: &str) -> Result<String, Vec<Bad>> {
    match text {
        "" => Err(Reason::Empty.into()),
        text if text.contains(char::is_whitespace) => Err(Reason::BadValue("not a name").into()),
        text => Ok(text.to_owned()),
    }
}

/// Elements of a list, separated by commas: the good ones, and what is wrong with the others.
///
/// The good ones are of use all the same: what is wrong with them is to be reported, too.
pub(in crate::config) fn list<T>(
    text: &str,
    element: impl Fn(&str) -> Result<T, Bad>,
) -> (Vec<T>, Vec<Bad>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    if text.is_empty() {
        return (good, bad);
    }
    for part in text.split(',').map(str::trim) {
        match element(part) {
            _ if part.is_empty() => bad.push(Bad::whole(Reason::BadElement("it is empty"))),
            Ok(element) => good.push(element),
            Err(fault) => bad.push(fault),
        }
    }
    (good, bad)
}

/// Stores the good elements of a list, and passes on what is wrong with the others.
pub(super) fn store<T>(field: &mut Vec<T>, list: (Vec<T>, Vec<Bad>)) -> Result<(), Vec<Bad>> {
    let (good, bad) = list;
    *field = good;
    if bad.is_empty() { Ok(()) } else { Err(bad) }
}

/// CPU numbers in the syntax of `taskset -c`: `61`, `2,3`, `4-7`, `0-6:2`. Sorted, each one once.
pub(in crate::config) fn cpu_list(text: &str) -> (Vec<usize>, Vec<Bad>) {
    let (ranges, bad) = list(text, |part| {
        cpu_range(part).ok_or_else(|| Bad::part(part, Reason::BadElement("not a CPU or a range")))
    });
    let mut cpus: Vec<usize> = ranges.into_iter().flatten().collect();
    cpus.sort_unstable();
    cpus.dedup();
    (cpus, bad)
}

fn cpu_range(text: &str) -> Option<impl Iterator<Item = usize> + use<>> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse::<usize>().ok() } else { None }
    };
    let (range, step) = match text.split_once(':') {
        Some((range, step)) if range.contains('-') => (range, number(step)?),
        Some(_) => return None,
        None => (text, 1),
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first.trim())?, number(last.trim())?);
    (first <= last && last <= MAX_CPU && step > 0).then(|| (first..=last).step_by(step))
}

/// Sorted CPU numbers as short as `taskset -c` takes them: `0-3,8`.
pub(in crate::config) fn cpu_ranges(cpus: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let texts = ranges.into_iter().map(|(first, last)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    });
    texts.collect::<Vec<_>>().join(",")
}
