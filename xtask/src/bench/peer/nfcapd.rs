//! `nfcapd` of nfdump with `-R`: a collector that repeats what it gets. It reads and keeps the flows
//! as well; there is no way to have it only repeat.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::bench::case::Route;
use crate::bench::parts::RECEIVE_BUFFER;
use crate::bench::side::Task;
use crate::bench::{Mode, Protocol};

/// Most receivers that it repeats to.
const MOST: u32 = 8;

/// Copies of datagrams only.
pub fn does(route: &Route) -> bool {
    let udp = route.input == Protocol::Udp && route.output == Protocol::Udp;
    udp && route.mode == Mode::All && route.destinations <= MOST
}

/// One file for the whole run, and copies.
pub fn command(task: &Task<'_>) -> Result<Vec<OsString>> {
    let mut words = collector(task.listen, task.directory);
    for destination in task.destinations {
        let receiver = format!("{}/{}", destination.ip(), destination.port());
        words.extend(["-R".into(), receiver.into()]);
    }
    Ok(words)
}

/// What it is made for: flows, in one file below `directory`.
pub fn collector(listen: SocketAddr, directory: &Path) -> Vec<OsString> {
    let (ip, port) = (listen.ip().to_string(), listen.port().to_string());
    let buffer = RECEIVE_BUFFER.to_string();
    let mut words: Vec<OsString> =
        ["nfcapd", "-b", &ip, "-p", &port, "-B", &buffer, "-t", "3600", "-S", "0", "-w"]
            .map(OsString::from)
            .into();
    words.push(directory.into());
    words
}
