//! `kill -9` at any moment: what was on disk arrives, in order, and before what comes later.
//!
//! `IPFIX_SPOOL_KILLS` is how often, and `IPFIX_SPOOL_SEED` which moments.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]

use std::collections::{HashMap, HashSet};
use std::env;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::slice;
use std::thread;

use anyhow::{Context, Result, ensure};
use balancer_user::spool::record::{Kind, Records};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::daemon::{Daemon, Mode};
use ipfix_balancer_tests::exporter::{Flows, TcpExporter};
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

use crate::scene::{MANY, decoded, destination, large, one_away, segments, wait_until_empty};

const KILLS: u64 = 4;
/// Messages that an exporter sends at most before the daemon is killed.
const MOST: usize = 3 * MANY;

/// Messages with templates alone are no longer.
const TEMPLATES: usize = 1000;

/// Numbers that the seed determines (Marsaglia, xorshift).
struct Chance(u64);

impl Chance {
    fn new() -> Result<Chance> {
        let seed = match env::var("IPFIX_SPOOL_SEED") {
            Ok(seed) => seed.parse()?,
            Err(_) => RandomState::new().hash_one(0),
        };
        println!("IPFIX_SPOOL_SEED={seed}");
        Ok(Chance(seed | 1))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

/// The messages with flows in the segments, in order. Templates may come more often than once.
fn on_disk(dir: &Path) -> Result<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    for file in segments(dir) {
        let bytes = fs::read(file)?;
        let records = Records::of(&bytes).map_while(Result::ok);
        let found = records.filter(|it| it.kind == Kind::Message && it.bytes.len() > TEMPLATES);
        messages.extend(found.map(|record| record.bytes.to_vec()));
    }
    Ok(messages)
}

/// Sends until the daemon is killed, which happens when about so many messages are on disk.
fn kill_at(setup: &mut Setup, exporter: &mut TcpExporter, spooled: usize) -> Result<()> {
    let mut flows = Flows::new(1);
    exporter.send(&flows.templates())?;
    let receiver = setup.receiver.name();
    let daemon = &mut setup.daemon;
    thread::scope(|scope| {
        // It ends with an error when the daemon is gone.
        scope.spawn(|| (0..MOST).try_for_each(|_| exporter.send(&flows.data(728))));
        let now = || Ok::<_, anyhow::Error>(daemon.status()?.receiver(&receiver)?.destinations());
        poll::wait("enough is on disk", || {
            let away = now().ok().and_then(|all| all.last().map(|one| one.spooled()));
            away.and_then(|now| usize::try_from(now).ok()).is_some_and(|now| now >= spooled)
        })?;
        daemon.kill()
    })
}

/// Everything has arrived, in order, over connections that were made before the one of `newer`.
fn precede(collector: &Collector, spooled: &[Vec<u8>], newer: &[u8]) -> Result<()> {
    let sessions = collector.sessions();
    let later = sessions.iter().position(|one| one.messages.iter().any(|it| it == newer));
    let later = later.context("the newer ones have not come")?;
    let places: HashMap<&[u8], usize> =
        spooled.iter().enumerate().map(|(place, message)| (message.as_slice(), place)).collect();
    let mut arrived = HashSet::new();
    for (number, session) in sessions.iter().enumerate() {
        let found = session.messages.iter().filter_map(|message| places.get(message.as_slice()));
        let found: Vec<usize> = found.copied().collect();
        let wrong = found.windows(2).find(|pair| pair[0] >= pair[1]);
        ensure!(wrong.is_none(), "not in order in {number}: {wrong:?} of {}", found.len());
        ensure!(found.is_empty() || number < later, "newer ones in {later}, older in {number}");
        arrived.extend(found);
    }
    ensure!(arrived.len() == spooled.len(), "{} of {}", arrived.len(), spooled.len());
    Ok(())
}

/// One daemon that is killed while messages go to the disk, and another one while they come back.
fn is_killed_twice(chance: &mut Chance) -> Result<()> {
    let mut setup = one_away(Mode::All, (Tcp, Tcp), |it| it)?;
    let mut exporter = setup.tcp()?;
    kill_at(&mut setup, &mut exporter, 1 + chance.below(MOST / 2))?;
    let files = segments(&setup.daemon.spool());
    let last = files.last().context("nothing is on disk")?;
    if chance.below(2) == 0 {
        // As the loss of power does.
        let len = fs::metadata(last)?.len();
        let torn = u64::try_from(chance.below(40_000))?;
        OpenOptions::new().write(true).open(last)?.set_len(len.saturating_sub(torn).max(1000))?;
    }
    let spooled = on_disk(&setup.daemon.spool())?;
    setup.daemon.restart()?;
    setup.collectors[1].resume()?;
    let some = chance.below(spooled.len());
    poll::wait("some of it", || setup.collectors[1].messages() >= some)?;
    setup.daemon.kill()?;
    setup.daemon.restart()?;
    let newer = Flows::new(2).session(20, 5);
    setup.tcp()?.send_all(&newer)?;
    let newest = newer.last().context("nothing newer")?;
    poll::until_ok(|| precede(&setup.collectors[1], &spooled, newest))?;
    decoded(&setup.collectors[1])?;
    wait_until_empty(&setup, 1)
}

#[test]
fn what_is_on_disk_survives_kill_9_at_any_moment() {
    let mut chance = Chance::new().unwrap();
    let kills = env::var("IPFIX_SPOOL_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    for round in 0..kills {
        is_killed_twice(&mut chance).map_err(|error| error.context(format!("{round}"))).unwrap();
    }
}

/// The exporter's connection outlives the daemon: what it sends afterwards comes behind what it has sent.
#[test]
fn newer_messages_of_a_session_that_goes_on_come_behind_what_is_on_disk() {
    let mut setup = one_away(Mode::All, (Tcp, Tcp), |it| it).unwrap();
    setup.daemon.kill().unwrap();
    setup.daemon = Daemon::start_managed(slice::from_ref(&setup.receiver)).unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    let all = u64::try_from(sent.len()).unwrap();
    poll::wait("all is on disk", || destination(&setup, 1).is_ok_and(|now| now.spooled() >= all))
        .unwrap();
    let spooled = on_disk(&setup.daemon.spool()).unwrap();
    setup.daemon.kill().unwrap();
    setup.daemon.restart().unwrap();
    setup.collectors[1].resume().unwrap();
    let newer = large(&mut flows, 10);
    exporter.send_all(&newer).unwrap();
    let newest = newer.last().unwrap();
    poll::until_ok(|| precede(&setup.collectors[1], &spooled, newest)).unwrap();
    decoded(&setup.collectors[1]).unwrap();
    wait_until_empty(&setup, 1).unwrap();
}
