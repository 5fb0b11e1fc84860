//! The overview, when something goes wrong and is put right.

use anyhow::Result;
use ipfix_balancer_tests::collector::{Collector, Protocol::Tcp};
use ipfix_balancer_tests::daemon::{Mode, Receiver, render};
use ipfix_balancer_tests::exporter::{Flows, TcpExporter};
use ipfix_balancer_tests::net::{V4, free_address};

use crate::browser::{Browser, DESK};
use crate::scene::{ADMIN, Scene};

#[test]
fn what_is_wrong_stands_at_the_top_until_it_is_put_right() -> Result<()> {
    let spool = tempfile::tempdir()?;
    let mut collectors = Collector::several(2, Tcp, V4)?;
    let receiver = Receiver::new(Mode::All, Tcp, free_address(V4)?).to(&collectors);
    let receiver = receiver.set("SPOOL_DIR", spool.path().display()).set("RECONNECT_SECONDS", 1);
    let scene = Scene::with(&render(std::slice::from_ref(&receiver)))?;
    let mut exporter = TcpExporter::connect(receiver.address())?;
    let mut flows = Flows::new(5);
    exporter.send_all(&[flows.templates(), flows.data(3)])?;

    let browser = Browser::open(DESK)?;
    scene.sign_in(&browser, ADMIN)?;
    browser.go(&scene.page("overview/local"))?;
    browser.wait_for(".headline", "All is well")?;

    collectors[1].stop();
    exporter.send(&flows.data(3))?;
    let address = format!("127.0.0.1/{}", collectors[1].address().port());
    browser.wait_for(".headline[data-state=bad]", &format!("{address}/tcp is down"))?;
    browser.wait_for(&format!("[data-destination='{address}']"), "down 0/1")?;
    browser.wait_for(".headline", "wait on disk")?;
    browser.picture("overview-trouble")?;

    collectors[1].resume()?;
    browser.wait_for(".headline[data-state=good]", "All is well")?;
    browser.is_content()
}
