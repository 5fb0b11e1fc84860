//! Collectors that take nothing any more.

use ipfix_balancer_tests::collector::Protocol::Tcp;
use ipfix_balancer_tests::collector::{Manners, Reading};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::poll;
use ipfix_balancer_tests::setup::Setup;

use super::scene::arrive_at;

const NEVER: Manners = Manners { reading: Reading::Never, talks_back: false, counts_only: false };

/// What is in the kernel's buffers when an exporter's session ends has not arrived yet: should the
/// collector fail now, it is still there to be sent again.
#[test]
fn a_session_that_has_ended_is_kept_until_everything_is_acknowledged() {
    let mut setup = Setup::mannered(Mode::All, Tcp, Tcp, &[NEVER]).unwrap();
    let sent = Flows::new(1).session(300, 30);
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    exporter.finish().unwrap();
    poll::wait("the collector has been connected to", || setup.collectors[0].session_count() == 1)
        .unwrap();
    poll::until_ok(|| {
        let receiver = setup.daemon.status()?.receiver(&setup.receiver.name())?;
        anyhow::ensure!(receiver.destinations()[0].messages() == 301, "written");
        Ok(())
    })
    .unwrap();
    setup.collectors[0].stop();
    setup.collectors[0].resume_with(Manners::default()).unwrap();
    arrive_at(&setup.collectors[0], &sent).unwrap();
    setup.collectors[0].wait_for_end_of(2).unwrap();
}

/// The kernel would end the connection to a collector whose window stays shut, too, when the time
/// for which it may leave something unacknowledged is over.
#[test]
fn a_collector_that_takes_nothing_for_long_is_not_taken_for_gone() {
    let mut setup = Setup::mannered(Mode::All, Tcp, Tcp, &[NEVER]).unwrap();
    let sent = Flows::new(1).session(3000, 30);
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    let longer = balancer_user::net::socket::COLLECTOR_TIMEOUT + std::time::Duration::from_secs(5);
    let state = || {
        let receiver = setup.daemon.status().ok()?.receiver(&setup.receiver.name()).ok()?;
        Some((setup.collectors[0].session_count(), receiver.destinations().first()?.state()))
    };
    poll::wait("it is connected to", || state() == Some((1, "up".to_owned()))).unwrap();
    let begun = std::time::Instant::now();
    poll::wait("the time is over, or the connection", || {
        begun.elapsed() >= longer || state() != Some((1, "up".to_owned()))
    })
    .unwrap();
    assert_eq!(state(), Some((1, "up".to_owned())));
    setup.collectors[0].stop();
    setup.collectors[0].resume_with(Manners::default()).unwrap();
    arrive_at(&setup.collectors[0], &sent).unwrap();
}
