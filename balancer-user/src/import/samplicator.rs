//! samplicator: its command line and the file of senders that this names.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use ipnet::IpNet;

use super::{ImportError, Wanted, destination, read_file};
use crate::config::{Mode, Protocol};

/// What samplicator takes where a destination has no port.
const DEFAULT_PORT: &str = "2000";

/// The arguments of `samplicate`.
#[derive(Debug, Args)]
pub struct Samplicate {
    /// Address on which it listens.
    #[arg(short = 's', value_name = "ADDRESS")]
    address: Option<String>,
    /// Port on which it listens.
    #[arg(short = 'p', value_name = "PORT", default_value = DEFAULT_PORT)]
    port: u16,
    /// File with destinations by sender.
    #[arg(short = 'c', value_name = "FILE")]
    senders: Option<PathBuf>,
    /// Keeps source addresses.
    #[arg(short = 'S')]
    spoof: bool,
    /// Pause after each datagram, in microseconds.
    #[arg(short = 'x', value_name = "DELAY")]
    delay: Option<String>,
    /// Socket buffer, debugging, process id, no checksum, background, one family: without meaning
    /// here.
    #[arg(short = 'b', hide = true)]
    buffer: Option<String>,
    #[arg(short = 'd', hide = true)]
    debug: Option<String>,
    #[arg(short = 'm', hide = true)]
    pid_file: Option<String>,
    #[arg(short = 'n', hide = true)]
    no_checksum: bool,
    #[arg(short = 'f', hide = true)]
    fork: bool,
    #[arg(short = '4', hide = true)]
    ipv4: bool,
    #[arg(short = '6', hide = true)]
    ipv6: bool,
    /// Who gets everything: ADDRESS[/PORT[/INTERVAL[,TTL]]].
    #[arg(value_name = "DESTINATION")]
    destinations: Vec<String>,
}

/// Reads a command line, and the file that it names.
///
/// # Errors
///
/// [`ImportError`].
pub fn read(arguments: &Samplicate) -> Result<Vec<Wanted>, ImportError> {
    let mut receivers = Vec::new();
    if !arguments.destinations.is_empty() {
        let all = arguments.destinations.iter().map(String::as_str);
        receivers.push(receiver(arguments, arguments.port, "everyone", all));
    }
    let senders = match &arguments.senders {
        Some(path) => senders(path, &read_file(path)?)?,
        None => Vec::new(),
    };
    for (sender, destinations) in &senders {
        let place = u16::try_from(receivers.len()).unwrap_or(u16::MAX);
        let port = arguments.port.saturating_add(place);
        let everything = arguments.destinations.iter().map(String::as_str);
        let destinations = everything.chain(destinations.iter().map(String::as_str));
        let mut wanted = receiver(arguments, port, &sender.to_string(), destinations);
        wanted.set("ALLOW_FROM", sender);
        if port != arguments.port {
            wanted.note(format!(
                "a list of destinations for one sender on the port of another: have {sender} send to \
                 port {port}"
            ));
        }
        receivers.push(wanted);
    }
    if receivers.is_empty() {
        return Err(ImportError::Nothing("no destination, neither as argument nor in a file (-c)"));
    }
    Ok(receivers)
}

fn receiver<'a>(
    arguments: &Samplicate,
    port: u16,
    sender: &str,
    destinations: impl Iterator<Item = &'a str>,
) -> Wanted {
    let mut wanted = Wanted::new(format!("samplicator: from {sender}"));
    wanted.listen(Protocol::Udp, &port.to_string(), arguments.address.as_deref());
    let mut notes = Vec::new();
    let list: Vec<_> = destinations.map(|text| read_destination(text, &mut notes)).collect();
    wanted.balance(Mode::All, Protocol::Udp, &list);
    notes.into_iter().for_each(|note| wanted.note(note));
    if arguments.spoof {
        wanted.note(
            "-S: collectors see the balancer's address, and a port of its own for each exporter",
        );
    }
    if arguments.delay.is_some() {
        wanted.note("-x: nothing is delayed");
    }
    wanted
}

/// `address[/port[/interval[,ttl]]]`.
fn read_destination(text: &str, notes: &mut Vec<String>) -> String {
    let mut parts = text.splitn(3, '/');
    let host = parts.next().unwrap_or_default().trim_matches(['[', ']']);
    let port = parts.next().filter(|port| !port.is_empty()).unwrap_or(DEFAULT_PORT);
    let (interval, ttl) =
        parts.next().map_or(("", ""), |rest| rest.split_once(',').unwrap_or((rest, "")));
    if !matches!(interval, "" | "1") {
        notes.push(format!("{text}: one of {interval} datagrams; every message is passed on"));
    }
    if !ttl.is_empty() {
        notes.push(format!("{text}: the time to live {ttl}"));
    }
    destination(host, port)
}

/// The senders of a file, with their destinations.
fn senders(path: &Path, text: &str) -> Result<Vec<(IpNet, Vec<String>)>, ImportError> {
    let mut senders = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let sender = read_sender(line).ok_or_else(|| ImportError::Syntax {
            path: path.to_owned(),
            what: format!("line {number}: not of the form address[/mask]: destination ..."),
        })?;
        senders.push(sender);
    }
    Ok(senders)
}

fn read_sender(line: &str) -> Option<(IpNet, Vec<String>)> {
    // The colons of an IPv6 address stand in brackets.
    let address_end = line.find(']').unwrap_or(0);
    let colon = address_end + line.get(address_end..)?.find(':')?;
    let (sender, destinations) = line.split_at_checked(colon)?;
    let (address, mask) = match sender.trim().rsplit_once('/') {
        Some((address, mask)) => (address, Some(mask.trim())),
        None => (sender.trim(), None),
    };
    let address: IpAddr = address.trim().trim_matches(['[', ']']).parse().ok()?;
    let net = match mask {
        None => IpNet::from(address),
        Some(mask) => match mask.parse::<u8>() {
            Ok(length) => IpNet::new(address, length).ok()?,
            Err(_) => IpNet::with_netmask(address, mask.parse().ok()?).ok()?,
        },
    };
    let destinations = destinations.trim_start_matches(':').split_whitespace();
    Some((net.trunc(), destinations.map(str::to_owned).collect()))
}
