//! A collector is away while messages come.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]

use anyhow::{Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;

use crate::scene::{
    MANY, decoded, destination, large, one_away, segments, wait_for_spooled, wait_until_empty,
};

#[test]
fn a_collector_that_comes_late_gets_everything_in_order() {
    let mut setup = one_away(Mode::All, (Tcp, Tcp), |it| it).unwrap();
    let mut flows = Flows::new(1);
    let mut sent = vec![flows.templates()];
    sent.extend(large(&mut flows, MANY));
    let mut exporter = setup.tcp().unwrap();
    exporter.send_all(&sent).unwrap();
    setup.collectors[0].wait_for(sent.len()).unwrap();
    wait_for_spooled(&setup, 1, sent.len()).unwrap();
    assert!(!segments(&setup.daemon.spool()).is_empty());
    assert!(destination(&setup, 1).unwrap().queued() < 1 << 20, "it is on disk, not in memory");
    setup.collectors[1].resume().unwrap();
    // Newer ones go behind what waits.
    let newer = large(&mut flows, MANY / 4);
    exporter.send_all(&newer).unwrap();
    sent.extend(newer);
    for collector in &setup.collectors {
        collector.wait_for(sent.len()).unwrap();
        let messages = &collector.sessions()[0].messages;
        let place = messages.iter().zip(&sent).position(|(came, sent)| came != sent);
        assert_eq!((messages.len(), place), (sent.len(), None), "complete, in order");
    }
    wait_until_empty(&setup, 1).unwrap();
    let last = large(&mut flows, 3);
    exporter.send_all(&last).unwrap();
    setup.collectors[1].wait_for(sent.len() + 3).unwrap();
    assert_eq!(setup.collectors[1].sessions()[0].messages[sent.len()..], last);
    assert_eq!(setup.dropped().unwrap(), 0);
}

fn comes_and_goes(input: Protocol) -> Result<()> {
    let mut setup = one_away(Mode::All, (input, Tcp), |it| it)?;
    let mut flows = Flows::new(1);
    let mut exporter = setup.exporter()?;
    let mut sent = 0;
    for round in 0..3 {
        let mut messages = vec![flows.templates(), flows.options_data(2)];
        messages.extend(large(&mut flows, MANY / 2));
        for group in messages.chunks(20) {
            exporter.send_all(group)?;
            sent += group.len();
            setup.collectors[0].wait_for(sent)?;
        }
        match round {
            0 => setup.collectors[1].resume()?,
            1 => setup.collectors[1].stop(),
            _ => setup.collectors[1].resume()?,
        }
    }
    wait_until_empty(&setup, 1)?;
    // What was on its way when the collector went is another matter.
    let flows_of = |index: usize| -> Result<Vec<Vec<u8>>> {
        let sessions = decoded(&setup.collectors[index])?;
        let records = sessions
            .iter()
            .flat_map(|one| one.flows())
            .map(|record| format!("{record:?}").into_bytes());
        Ok(records.collect())
    };
    let (all, some) = (flows_of(0)?, flows_of(1)?);
    ensure!(all.len() == 3 * (MANY / 2) * 728, "{} of all", all.len());
    ensure!(some.len() + 200 * 728 >= all.len(), "{} of {}", some.len(), all.len());
    Ok(())
}

#[test]
fn over_tcp_a_collector_may_come_and_go() {
    comes_and_goes(Tcp).unwrap();
}

#[test]
fn from_udp_a_collector_may_come_and_go() {
    comes_and_goes(Udp).unwrap();
}
