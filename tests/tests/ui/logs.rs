//! The log: newest first, followed, filtered, kept.

use anyhow::{Result, ensure};
use ipfix_balancer_tests::http::request;
use ipfix_balancer_tests::net::{V4, free_address};

use crate::browser::{Browser, DESK};
use crate::scene::{ADMIN, Scene};

#[test]
fn lines_are_followed_filtered_and_kept() -> Result<()> {
    let port = free_address(V4)?.port();
    let scene = Scene::with(&format!("IPFIX_FULLFLOW_PORT={port}\n"))?;
    let browser = Browser::open(DESK)?;
    scene.sign_in(&browser, ADMIN)?;
    browser.go(&scene.page("logs/local"))?;
    browser.wait_for("#lines", "started")?;
    browser.click("#follow")?;
    // Not there yet: it comes while the page is open.
    ensure!(!browser.text("#lines")?.contains("reloaded"));
    scene.daemon.reload()?;
    browser.wait_for("#lines", "reloaded: nothing changed")?;
    browser.picture("logs")?;

    browser.enter("#text", "RELOADED")?;
    browser.wait_for("#lines li:first-child", "reloaded")?;
    ensure!(!browser.text("#lines")?.contains("started"), "{}", browser.text("#lines")?);
    browser.enter("#text", " ")?;
    browser.choose("#log-receiver", "FULLFLOW[0]")?;
    browser.wait_for("#lines li:first-child", "FULLFLOW[0]: ")?;
    ensure!(!browser.text("#lines")?.contains("reloaded"));
    browser.choose("#level", "error")?;
    browser.wait_for("#lines", "No lines")?;

    let link = browser.attribute("#download", "href")?;
    ensure!(link.contains("level=error") && link.contains("receiver=FULLFLOW"), "{link}");
    let client = scene.client(ADMIN)?;
    let path = "/api/servers/local/log.txt?text=reloaded";
    let kept = request(scene.address, "GET", path, &[("cookie", client.cookie.as_str())], "")?;
    ensure!(kept.status == 200 && kept.body.contains(" INFO reloaded"), "{kept:?}");
    ensure!(kept.header.iter().any(|line| line.starts_with("content-disposition: attachment")));
    browser.is_content()
}
