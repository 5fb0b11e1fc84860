//! A collector closes its port: ICMP says so, and the kernel path follows.

use anyhow::{Result, ensure};
use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::lab::{Family, available};
use ipfix_balancer_tests::poll;

use super::scene::Scene;

/// The others get its turns, in the kernel, and it takes turns again when it is back.
fn turns_go_to_others(family: Family) -> Result<()> {
    let mut scene = Scene::over(family, Mode::RoundRobin)?;
    let mut feed = scene.feed(1)?;
    scene.close(0)?;
    poll::until_ok(|| {
        feed.send(2)?;
        ensure!(scene.first_is_down()?, "it is up");
        Ok(())
    })?;
    let taken = |scene: &Scene| -> Result<u64> {
        Ok(scene.status()?.destinations().get(1).map_or(0, |one| one.kernel_messages()))
    };
    // Now and then it is tried with a message that is lost, if the port is still closed.
    poll::until_ok(|| {
        let before = taken(&scene)?;
        feed.send(20)?;
        let more = taken(&scene)? - before;
        ensure!(more == 20, "{more} of 20 go to the other one");
        Ok(())
    })?;
    scene.reopen(0)?;
    let from = feed.sent.len();
    let before = scene.arrived();
    poll::until_ok(|| {
        feed.send(10)?;
        let now = scene.arrived();
        ensure!(now.iter().zip(&before).all(|(now, before)| now >= &(before + 10)), "{now:?}");
        Ok(())
    })?;
    scene.is_forwarded(&mut feed)?;
    scene.is_complete_from(&feed, from)?;
    let received = scene.sources()?;
    let gaps: Vec<_> = received.iter().map(|one| one.gaps()).collect();
    ensure!(gaps.get(1) == Some(&0), "the other one has gaps: {gaps:?}");
    // What was lost shows, and nothing was hidden: the numbers add up.
    let sum: usize = received
        .iter()
        .flat_map(|one| one.domains.values())
        .filter_map(|domain| domain.next_sequence)
        .map(|next| usize::try_from(next).unwrap_or(0))
        .sum();
    let sent = decode::session(&feed.sent).flows().count();
    ensure!(sum == sent, "numbers add up to {sum} of {sent}");
    Ok(())
}

#[test]
fn a_closed_port_gives_its_turns_to_the_others_and_comes_back() {
    if available() {
        Family::BOTH.into_iter().for_each(|family| turns_go_to_others(family).unwrap());
    }
}

/// The others get everything, and what is meant for it is kept.
fn all_is_kept(family: Family) -> Result<()> {
    let mut scene = Scene::over(family, Mode::All)?;
    let mut feed = scene.feed(1)?;
    scene.close(0)?;
    poll::until_ok(|| {
        feed.send(2)?;
        ensure!(scene.first_is_down()?, "it is up");
        Ok(())
    })?;
    let from = feed.sent.len();
    feed.send(100)?;
    scene.reopen(0)?;
    scene.is_complete_from(&feed, from)?;
    scene.is_forwarded(&mut feed)?;
    let received = scene.sources()?;
    ensure!(received.get(1).is_some_and(|one| one.problems.is_empty()), "the other one has gaps");
    scene.is_complete_from(&feed, from)
}

#[test]
fn a_closed_port_has_all_kept_for_it() {
    if available() {
        Family::BOTH.into_iter().for_each(|family| all_is_kept(family).unwrap());
    }
}
