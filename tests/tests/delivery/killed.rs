//! Collectors that are killed, and come back. Whatever was in their receive buffers is gone.

use std::time::Duration;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::collector::{Manners, Reading};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

use super::scene::{FAST, Load, MODERATE, arrive_at, each_at_least_once};

/// Messages between two events.
const A_WHILE: usize = 2_000;

/// Kills the first of two collectors again and again, while an exporter sends.
fn killed_under_load(manners: Manners, pause: Duration) -> Result<()> {
    let mut setup = Setup::mannered(Mode::All, Tcp, Tcp, &[manners, Manners::default()])?;
    let load = Load::start(setup.tcp()?, pause);
    for round in 0..4 {
        load.wait_for(A_WHILE)?;
        setup.collectors[0].stop();
        load.wait_for(A_WHILE)?;
        let sessions = setup.collectors[0].session_count();
        let manners = if round < 3 { manners } else { Manners::default() };
        setup.collectors[0].resume_with(manners)?;
        poll::wait("connected again", || setup.collectors[0].session_count() > sessions)?;
    }
    load.wait_for(A_WHILE)?;
    let sent = load.finish()?;
    arrive_at(&setup.collectors[0], &sent)?;
    setup.collectors[1].wait_for(sent.len())?;
    let steady = setup.collectors[1].sessions();
    ensure!(steady.len() == 1 && steady[0].messages == sent, "the other one has noticed");
    ensure!(setup.dropped()? == 0, "some were dropped");
    Ok(())
}

#[test]
fn all_a_collector_that_is_killed_under_load_gets_every_message() {
    killed_under_load(Manners::default(), FAST).unwrap();
}

#[test]
fn all_a_collector_that_stalls_before_it_is_killed_gets_every_message() {
    let reading = Reading::Stalling { after: 1 << 20 };
    killed_under_load(Manners { reading, ..Manners::default() }, MODERATE).unwrap();
}

#[test]
fn all_a_collector_that_never_read_before_it_is_killed_gets_every_message() {
    killed_under_load(Manners { reading: Reading::Never, ..Manners::default() }, MODERATE).unwrap();
}

#[test]
fn what_was_taken_back_is_counted() {
    let never = Manners { reading: Reading::Never, ..Manners::default() };
    let mut setup = Setup::mannered(Mode::All, Tcp, Tcp, &[never]).unwrap();
    let load = Load::start(setup.tcp().unwrap(), FAST);
    load.wait_for(A_WHILE).unwrap();
    setup.collectors[0].stop();
    setup.collectors[0].resume_with(Manners::default()).unwrap();
    let sent = load.finish().unwrap();
    poll::until_ok(|| {
        let again = each_at_least_once(&sent, &setup.collectors[0].sessions())?;
        ensure!(again == 0, "nothing of it was read before");
        let receiver = setup.daemon.status()?.receiver(&setup.receiver.name())?;
        let destination = &receiver.destinations()[0];
        ensure!(destination.resent() > 0, "some were in the kernel's buffers");
        // Two messages of templates and options go first on the second connection.
        let once = usize::try_from(destination.messages() - destination.resent())?;
        ensure!(once == sent.len() + 1, "{once} of {}", sent.len());
        Ok(())
    })
    .unwrap();
}
