//! Signing in and its limits; TLS.

use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use ipfix_balancer_tests::daemon;
use ipfix_balancer_tests::http::get;
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::poll;

use crate::browser::{Browser, DESK};
use crate::scene::{ADMIN, READER, Scene};

#[test]
fn a_browser_has_to_sign_in_and_not_too_often_in_vain() -> Result<()> {
    let scene = Scene::new()?;
    let browser = Browser::open(DESK)?;
    browser.go(&scene.page("configuration/local"))?;
    browser.wait_for("h1", "Sign in")?;
    browser.picture("sign-in")?;
    let attempt = |password: &str| {
        browser.enter("#name", ADMIN.0)?;
        browser.enter("#password", password)?;
        browser.click("button[type=submit]")
    };
    for _ in 0..5 {
        browser.run("document.getElementById('complaint').replaceChildren()")?;
        attempt("wrong password")?;
        browser.wait_for("#complaint", "name or password is wrong")?;
    }
    // Even the right one has to wait now.
    attempt(ADMIN.1)?;
    browser.wait_for("#complaint", "too many attempts")?;
    browser.picture("too-many-attempts")?;
    let complaints = browser.complaints()?;
    let expected = |line: &String| line.contains("401") || line.contains("429");
    ensure!(complaints.len() == 6 && complaints.iter().all(expected), "{complaints:#?}");
    // Another account is not held up by that.
    scene.sign_in(&browser, READER)?;
    browser.wait_for(".headline", "No receiver yet")?;
    // Who is removed is out at once.
    ensure!(scene.daemon.command(&["ui-account", "remove", READER.0])?.code == 0);
    browser.wait_for("h1", "Sign in")
}

#[test]
fn signing_out_ends_the_session() -> Result<()> {
    let scene = Scene::new()?;
    let browser = Browser::open(DESK)?;
    scene.sign_in(&browser, ADMIN)?;
    browser.click("[data-action=sign-out]")?;
    browser.wait_for("h1", "Sign in")?;
    browser.go(&scene.page("audit"))?;
    browser.wait_for("h1", "Sign in")?;
    browser.is_content()
}

/// `ipfix-balancer ui`. Dropped, it is ended.
struct Alone(Child);

impl Drop for Alone {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn elsewhere_than_on_loopback_it_is_served_by_tls_alone() -> Result<()> {
    let scene = Scene::new()?;
    let address = free_address(V4)?;
    let mut command = Command::new(daemon::binary()?);
    command.args(["ui", "--listen", &format!("0.0.0.0:{}", address.port()), "--config"]);
    let child = command.arg(scene.daemon.config()).stderr(Stdio::null()).spawn()?;
    let _alone = Alone(child);
    poll::wait("it listens", || std::net::TcpStream::connect(address).is_ok())?;
    ensure!(get(address, "/").is_err(), "it speaks plain HTTP");
    let browser = Browser::open(DESK)?;
    browser.go(&format!("https://{address}/"))?;
    browser.enter("#name", ADMIN.0)?;
    browser.enter("#password", ADMIN.1)?;
    browser.click("button[type=submit]")?;
    browser.wait_for("#visitor", ADMIN.0)?;
    // No script sees the cookie.
    ensure!(browser.run("return document.cookie")? == "");
    browser.is_content()
}
