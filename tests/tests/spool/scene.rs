//! A receiver with a collector that is there, and one that is not.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::{Collector, Manners, Protocol, Reading};
use ipfix_balancer_tests::daemon::{DestinationStatus, Mode, Receiver};
use ipfix_balancer_tests::decode::{self, Decoded};
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

/// Records that make a message of 30,000 octets.
const RECORDS: usize = 728;
/// Messages that are more than waits in memory, with some to spare.
pub const MANY: usize = 600;

const NORMAL: Manners = Manners { reading: Reading::Normal, talks_back: false, counts_only: false };

/// The first collector is there, the second is not. `change` sets more parameters.
pub fn one_away(
    mode: Mode,
    (input, output): (Protocol, Protocol),
    change: impl FnOnce(Receiver) -> Receiver,
) -> Result<Setup> {
    let collectors = vec![Collector::start(output, V4)?, Collector::absent(output, V4, NORMAL)?];
    let receiver = Receiver::new(mode, input, free_address(V4)?).set("RECONNECT_SECONDS", 1);
    Setup::serving(change(receiver), collectors)
}

/// None of the collectors is there.
pub fn all_away(
    mode: Mode,
    count: usize,
    change: impl FnOnce(Receiver) -> Receiver,
) -> Result<Setup> {
    let collectors: Result<_> =
        (0..count).map(|_| Collector::absent(Protocol::Tcp, V4, NORMAL)).collect();
    let receiver =
        Receiver::new(mode, Protocol::Tcp, free_address(V4)?).set("RECONNECT_SECONDS", 1);
    Setup::serving(change(receiver), collectors?)
}

/// Large data messages.
pub fn large(flows: &mut Flows, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| flows.data(RECORDS)).collect()
}

/// What status says of a destination.
pub fn destination(setup: &Setup, place: usize) -> Result<DestinationStatus> {
    let mut destinations = setup.daemon.status()?.receiver(&setup.receiver.name())?.destinations();
    ensure!(place < destinations.len(), "there is no destination {place}");
    Ok(destinations.swap_remove(place))
}

/// Waits until so many messages are on disk for a destination.
pub fn wait_for_spooled(setup: &Setup, place: usize, messages: usize) -> Result<()> {
    let spooled = || destination(setup, place).map(|one| one.spooled()).unwrap_or(0);
    poll::wait(&format!("{messages} messages are on disk"), || {
        usize::try_from(spooled()).is_ok_and(|now| now >= messages)
    })
    .map_err(|error| error.context(format!("{} are; {}", spooled(), setup.daemon.log())))
}

/// All segment files below a directory, in order.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                _ if entry.path().extension().is_some_and(|end| end == "spool") => {
                    found.push(entry.path());
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// Everything a collector got, session by session, each of which must be decodable on its own.
pub fn decoded(collector: &Collector) -> Result<Vec<Decoded>> {
    let sessions = collector.sessions();
    let decoded: Vec<_> =
        sessions.iter().map(|session| decode::session(&session.messages)).collect();
    ensure!(decoded.iter().all(|one| one.unknown_templates() == 0), "records without a template");
    Ok(decoded)
}

/// Waits until a destination's spool is empty, also on disk.
pub fn wait_until_empty(setup: &Setup, place: usize) -> Result<()> {
    poll::wait("the spool is empty", || {
        destination(setup, place).is_ok_and(|one| one.spooled() == 0 && one.spooled_octets() == 0)
    })?;
    let left = segments(&setup.daemon.spool());
    ensure!(left.is_empty(), "{left:?} are left");
    Ok(())
}
