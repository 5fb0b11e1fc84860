//! Templates that change while messages wait: each is decoded by those it was encoded by.

use std::fs::OpenOptions;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Collector;
use ipfix_balancer_tests::collector::Protocol::{Tcp, Udp};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::{Exporter, Field, Flows, Template};
use ipfix_balancer_tests::poll;

use crate::scene::{decoded, destination, one_away, segments, wait_for_spooled, wait_until_empty};

const ROUNDS: u8 = 8;
const EACH: usize = 60;

/// Over TCP a template is withdrawn before it is defined anew (RFC 7011 section 8.1): by the balancer,
/// where the exporter uses UDP.
const WITHDRAWALS: usize = ROUNDS as usize - 1;

/// One template id, and another length of its only field in every round, whose bytes say the round.
fn send(exporter: &mut Exporter, there: &Collector) -> Result<usize> {
    let (mut flows, mut sent) = (Flows::new(1), 0);
    for round in 0..ROUNDS {
        let template = Template::data(256, [Field::iana(96, 1000 + u16::from(round))]);
        exporter.send(&flows.message().template(&template).build())?;
        sent += 1;
        let records = vec![vec![round; 1000 + usize::from(round)]; 25];
        for _ in 0..EACH {
            exporter.send(&flows.message().data(&template, &records).build())?;
            flows.count(25);
            sent += 1;
            if sent % 10 == 0 {
                poll::wait("the other collector has it", || there.messages() >= sent)?;
            }
        }
    }
    Ok(sent)
}

/// Every record that the absent collector got is of one round, whatever became of the others.
fn check(collector: &Collector) -> Result<usize> {
    let mut count = 0;
    for session in decoded(collector)? {
        ensure!(session.problems.len() == session.gaps(), "{:?}", session.problems.first());
        for record in session.flows() {
            let round = record.values.first().copied().unwrap_or(u8::MAX);
            ensure!(record.values.len() == 1000 + usize::from(round), "a wrong template");
            ensure!(record.values.iter().all(|byte| *byte == round), "a wrong template");
            count += 1;
        }
    }
    Ok(count)
}

#[test]
fn what_waits_keeps_its_templates_over_reconnections_and_a_crash() {
    let mut setup = one_away(Mode::All, (Udp, Tcp), |it| it).unwrap();
    let mut exporter = setup.exporter().unwrap();
    let sent = send(&mut exporter, &setup.collectors[0]).unwrap();
    wait_for_spooled(&setup, 1, sent).unwrap();
    setup.daemon.kill().unwrap();
    let last = segments(&setup.daemon.spool()).pop().unwrap();
    let len = std::fs::metadata(&last).unwrap().len();
    OpenOptions::new().write(true).open(&last).unwrap().set_len(len - 10).unwrap();
    setup.daemon.restart().unwrap();
    wait_for_spooled(&setup, 1, sent - 1).unwrap();
    for _ in 0..3 {
        setup.collectors[1].resume().unwrap();
        let before = setup.collectors[1].messages();
        poll::wait("some of it", || setup.collectors[1].messages() > before).unwrap();
        setup.collectors[1].stop();
    }
    setup.collectors[1].resume().unwrap();
    wait_until_empty(&setup, 1).unwrap();
    assert!(check(&setup.collectors[1]).unwrap() > 0);
}

#[test]
fn what_a_full_spool_leaves_can_be_decoded() {
    let mut setup = one_away(Mode::All, (Udp, Tcp), |it| it.set("SPOOL_MAX_MB", 2)).unwrap();
    let mut exporter = setup.exporter().unwrap();
    let sent = send(&mut exporter, &setup.collectors[0]).unwrap();
    poll::wait("the oldest are dropped", || {
        destination(&setup, 1).is_ok_and(|one| {
            let dropped = one.dropped("spool_full");
            dropped > 0 && usize::try_from(dropped + one.spooled()) == Ok(sent + WITHDRAWALS)
        })
    })
    .unwrap();
    setup.collectors[1].resume().unwrap();
    wait_until_empty(&setup, 1).unwrap();
    let dropped = usize::try_from(destination(&setup, 1).unwrap().dropped("spool_full")).unwrap();
    let arrived = || check(&setup.collectors[1]).map(|records| records / 25).unwrap_or(0);
    // Of what was dropped, some messages of each round had templates or a withdrawal alone.
    let left = usize::from(ROUNDS) * EACH - dropped;
    let at_most = left + usize::from(ROUNDS) + WITHDRAWALS;
    poll::wait("the rest", || (left..=at_most).contains(&arrived())).unwrap();
}
