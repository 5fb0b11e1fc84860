//! The manual's three cases, set up by clicking from an empty configuration; faults, conflicts, undo.

use std::fs;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::collector::Protocol::{self, Tcp, Udp};
use ipfix_balancer_tests::decode;
use ipfix_balancer_tests::dump;
use ipfix_balancer_tests::exporter::{Exporter, Flows};
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::tools::{Nfcapd, PythonCollector, ipfix_dump};

use crate::browser::{Browser, DESK, PHONE};
use crate::scene::{ADMIN, READER, Scene};

/// Fills in the form of a new receiver.
fn add(browser: &Browser, scene: &Scene, stream: &str, values: &[(&str, &str)]) -> Result<()> {
    browser.go(&scene.page("configuration/local"))?;
    browser.click("[data-action=add]")?;
    // The form of another type takes the place of the first one's.
    browser.click("#field-PORT")?;
    if stream != "FULLFLOW" {
        browser.choose("#stream", stream)?;
        browser.wait_for(
            "#receiver h2",
            if stream == "DNSFLOW" { "DNS flow" } else { "Clickstream" },
        )?;
    }
    for (name, value) in values {
        let field = format!("#field-{name}");
        match *name {
            "PORT_TYPE" | "BALANCER" | "BALANCER_SUB_PROTO" => browser.choose(&field, value)?,
            _ => browser.enter(&field, value)?,
        }
    }
    Ok(())
}

fn apply(browser: &Browser) -> Result<()> {
    browser.click("[data-action=review]")?;
    browser.click("dialog [data-action=apply]")?;
    browser.wait_for("#said", "Applied")
}

fn send(protocol: Protocol, port: &str, messages: &[Vec<u8>]) -> Result<Exporter> {
    let mut exporter = Exporter::connect(protocol, format!("127.0.0.1:{port}").parse()?)?;
    exporter.send_all(messages)?;
    Ok(exporter)
}

/// What a session brings, and how many flows that are.
fn session() -> (Vec<Vec<u8>>, u64) {
    let mut flows = Flows::new(7);
    let mut messages = vec![flows.templates()];
    messages.extend((0..40).map(|_| flows.data(3)));
    let count = decode::session(&messages).flows().map(|_| 1).sum();
    (messages, count)
}

#[test]
fn from_an_empty_configuration_to_messages_at_real_collectors() -> Result<()> {
    let scene = Scene::new()?;
    let dumps = scene.folder.path().join("dumps").display().to_string();
    let browser = Browser::open(DESK)?;
    let copies = [PythonCollector::start()?, PythonCollector::start()?];
    let shares = [Nfcapd::start()?, Nfcapd::start()?];
    let list = |addresses: [std::net::SocketAddr; 2]| {
        addresses.map(|address| format!("{}/{}", address.ip(), address.port())).join(", ")
    };
    let port = || anyhow::Ok(free_address(V4)?.port().to_string());
    let (all, robin, record) = (port()?, port()?, port()?);

    scene.sign_in(&browser, ADMIN)?;
    browser.wait_for(".headline", "No receiver yet")?;
    let to = list([0, 1].map(|place| copies[place].address()));
    let replicate =
        [("PORT_TYPE", "tcp"), ("PORT", all.as_str()), ("BALANCER", "All"), ("BALANCER_SUB", &to)];
    add(&browser, &scene, "FULLFLOW", &replicate)?;
    browser.wait_for("#field-ROTATE_MINUTES-idle", "BALANCER=Disabled")?;
    browser.picture("form")?;
    apply(&browser)?;
    let to = list([0, 1].map(|place| shares[place].address()));
    let balance = [
        ("PORT_TYPE", "udp"),
        ("PORT", robin.as_str()),
        ("BALANCER", "RoundRobin"),
        ("BALANCER_SUB", &to),
        ("BALANCER_SUB_PROTO", "udp"),
    ];
    add(&browser, &scene, "CLICKSTREAM", &balance)?;
    apply(&browser)?;
    add(&browser, &scene, "DNSFLOW", &[("PORT", record.as_str()), ("BALANCER", "Disabled")])?;
    browser.click("#more summary")?;
    browser.enter("#field-DUMP_DIR", &dumps)?;
    apply(&browser)?;
    ensure!(browser.count("[data-receiver]")? == 3);
    browser.picture("configuration")?;
    let file = scene.file()?;
    ensure!(file.starts_with("# kept\nSECRET=of-somebody-else\n"), "{file}");

    let (messages, flows) = session();
    let exporters = [
        send(Tcp, &all, &messages)?,
        send(Udp, &robin, &messages)?,
        send(Tcp, &record, &messages)?,
    ];
    let count = u64::try_from(messages.len())?;
    for name in ["FULLFLOW[0]", "CLICKSTREAM[0]", "DNSFLOW[0]"] {
        scene.daemon.wait_for(name, "everything has come", |now| now.messages() == count)?;
    }
    scene.daemon.wait_for("DNSFLOW[0]", "everything is recorded", |now| {
        now.recorded("messages") == count
    })?;
    for name in ["FULLFLOW[0]", "CLICKSTREAM[0]"] {
        scene.daemon.wait_for(name, "everything is sent", |now| {
            now.destinations().iter().all(|one| one.queued() == 0 && one.messages() > 0)
        })?;
    }

    browser.go(&scene.page("overview/local"))?;
    browser.wait_for(".headline", "All is well")?;
    browser.wait_for("[data-receiver='FULLFLOW[0]'] [data-fact=total]", &count.to_string())?;
    browser.wait_for("[data-receiver='FULLFLOW[0]'] table", "up 1/1")?;
    browser.click(".chart .u-over")?;
    browser.picture("overview")?;
    browser.click("[data-action=theme]")?;
    browser.wait_for(".headline", "All is well")?;
    browser.picture("overview-dark")?;
    browser.is_content()?;

    drop(exporters);
    ensure!(scene.daemon.command(&["rotate"])?.code == 0);
    for collector in &copies {
        let [only] = collector.ended_sessions(1)?.try_into().ok().context("one session")?;
        ensure!(only.flows == flows && only.complaints.is_empty(), "{only:?} instead of {flows}");
    }
    let shares: Vec<_> = shares.into_iter().map(Nfcapd::finish).collect::<Result<_>>()?;
    ensure!(
        shares.iter().all(|one| one.complaints.is_empty() && one.flows > flows / 3),
        "{shares:?}"
    );
    ensure!(shares.iter().map(|one| one.flows).sum::<u64>() == flows, "{shares:?}");
    let files = dump::finished(dumps.as_ref())?;
    let [file] = files.as_slice() else { anyhow::bail!("{} dump files", files.len()) };
    ensure!(ipfix_dump(&file.stream())?.complaints.is_empty());
    ensure!(u64::try_from(file.decoded().flows().count())? == flows);
    Ok(())
}

#[test]
fn faults_stand_at_their_fields_and_nothing_is_written() -> Result<()> {
    let scene = Scene::new()?;
    let before = scene.file()?;
    let browser = Browser::open(PHONE)?;
    scene.sign_in(&browser, ADMIN)?;
    add(&browser, &scene, "FULLFLOW", &[("PORT", "70000"), ("DPI_ID", "x"), ("BALANCER", "All")])?;
    browser.wait_for("#field-PORT-fault", "1 to 65535")?;
    browser.wait_for("#field-DPI_ID-fault", "number")?;
    browser.wait_for("#field-BALANCER-fault", "no subreceiver")?;
    ensure!(browser.attribute("#field-PORT", "aria-invalid")? == "true");
    browser.click("[data-action=review]")?;
    browser.wait_for("#said", "Nothing was changed")?;
    ensure!(browser.count("dialog")? == 0);
    browser.picture("faults-on-a-phone")?;
    let wide = browser.run("return document.documentElement.scrollWidth > innerWidth")?;
    ensure!(wide == false, "the page is wider than the phone");
    browser.enter("#field-PORT", &free_address(V4)?.port().to_string())?;
    browser.wait_for("#field-PORT-fault", "")?;
    ensure!(scene.file()? == before);
    browser.is_content()
}

#[test]
fn who_comes_second_is_told_and_keeps_what_was_entered() -> Result<()> {
    let (port, other, third) =
        (free_address(V4)?.port(), free_address(V4)?.port(), free_address(V4)?.port());
    let scene = Scene::with(&format!("IPFIX_FULLFLOW_PORT={port} # main\n"))?;
    let (first, second) = (Browser::open(DESK)?, Browser::open(DESK)?);
    for browser in [&first, &second] {
        scene.sign_in(browser, ADMIN)?;
        browser.go(&scene.page("configuration/local"))?;
        browser.click("[data-receiver='FULLFLOW[0]'] [data-action=edit]")?;
    }
    first.enter("#field-PORT", &other.to_string())?;
    apply(&first)?;
    second.enter("#field-PORT", &third.to_string())?;
    second.enter("#field-DPI_ID", "5")?;
    second.click("[data-action=review]")?;
    second.click("dialog [data-action=apply]")?;
    second.wait_for("#said", "somebody else")?;
    second.picture("conflict")?;
    ensure!(scene.file()?.contains(&format!("IPFIX_FULLFLOW_PORT={other} # main")));
    second.click("[data-action=reload]")?;
    second.wait_for("#said", "as it is now")?;
    ensure!(second.run("return document.getElementById('field-DPI_ID').value")? == "5");
    // The conflict itself is an answer that a console shows.
    let complaints = second.complaints()?;
    ensure!(complaints.iter().all(|line| line.contains("409")), "{complaints:?}");
    apply(&second)?;
    let file = scene.file()?;
    ensure!(file.contains(&format!("={third} # main")) && file.contains("DPI_ID[0]=5"), "{file}");
    second.click("[data-action=undo]")?;
    second.wait_for("dialog", &format!("+IPFIX_FULLFLOW_PORT={other}"))?;
    second.click("dialog [data-action=apply]")?;
    second.wait_for("#said", "Applied")?;
    ensure!(scene.file()?.contains(&format!("={other} # main")));
    second.go(&scene.page("audit"))?;
    second.wait_for("[data-action=undo]", "undo")?;
    second.picture("audit")?;
    let trail = fs::read_to_string(scene.data().join("audit.jsonl"))?;
    ensure!(trail.contains("\"undo\"") && trail.contains("somebody else"), "{trail}");
    first.is_content()?;
    second.is_content()
}

#[test]
fn who_may_look_on_only_is_offered_no_change() -> Result<()> {
    let port = free_address(V4)?.port();
    let scene = Scene::with(&format!("IPFIX_FULLFLOW_PORT={port}\n"))?;
    let browser = Browser::open(DESK)?;
    scene.sign_in(&browser, READER)?;
    browser.go(&scene.page("configuration/local"))?;
    browser.click("[data-receiver='FULLFLOW[0]'] [data-action=edit]")?;
    browser.wait_for("#receiver", "Receiver type")?;
    ensure!(
        browser.run("return document.getElementById('field-PORT').matches(':disabled')")? == true
    );
    ensure!(browser.count("[data-action=review], [data-action=add], [data-action=remove]")? == 0);
    browser.is_content()
}
