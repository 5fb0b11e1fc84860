//! A second balancer, over a real sshd.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::daemon::{self, Daemon};
use ipfix_balancer_tests::net::{V4, free_address};
use ipfix_balancer_tests::tools::Sshd;

use crate::browser::{Browser, DESK};
use crate::scene::{ADMIN, Scene};

#[test]
fn a_second_balancer_is_added_tested_configured_and_watched_over_ssh() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return Ok(());
    }
    let ports = [free_address(V4)?.port(), free_address(V4)?.port()];
    let second = Daemon::start_with(&format!("# theirs\nIPFIX_FULLFLOW_PORT={}\n", ports[0]))?;
    let scene = Scene::new()?;
    // There, the program works with the configuration of there.
    let programs = scene.folder.path().join("programs");
    fs::create_dir(&programs)?;
    let script = programs.join("ipfix-balancer");
    let (binary, config) = (daemon::binary()?.display(), second.config());
    let text = format!("#!/bin/sh\nexec {binary} --config {} \"$@\"\n", config.display());
    fs::write(&script, text)?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    let sshd = Sshd::start(&programs)?;
    fs::write(scene.data().join("ssh_config"), sshd.client_configuration("other"))?;
    fs::write(scene.data().join("known_hosts"), "")?;

    let browser = Browser::open(DESK)?;
    scene.sign_in(&browser, ADMIN)?;
    browser.go(&scene.page("equipment"))?;
    browser.wait_for("[data-server=local]", "IPFIX-balancer server")?;
    browser.click("[data-action=add]")?;
    browser.enter("#server-name", "second")?;
    browser.enter("#server-host", "other")?;
    browser.enter("#server-login", "root")?;
    browser.click("[data-action=save]")?;
    browser.wait_for("#said", "saved")?;
    // Nobody has said yet that this is its host key.
    browser.click("[data-server=second] [data-action=test]")?;
    browser.wait_for("#said", "no connection over SSH")?;
    fs::write(scene.data().join("known_hosts"), sshd.known_host()?)?;
    browser.click("[data-server=second] [data-action=test]")?;
    browser.wait_for("#said", "1 receivers").map_err(|error| error.context(sshd.log()))?;
    browser.picture("equipment")?;

    browser.go(&scene.page("overview/second"))?;
    browser.wait_for("[data-receiver='FULLFLOW[0]']", &ports[0].to_string())?;
    browser.go(&scene.page("configuration/second"))?;
    browser.click("[data-action=edit]")?;
    browser.enter("#field-PORT", &ports[1].to_string())?;
    browser.click("[data-action=review]")?;
    browser.click("dialog [data-action=apply]")?;
    browser.wait_for("#said", "Applied")?;
    let file = fs::read_to_string(second.config())?;
    ensure!(file == format!("# theirs\nIPFIX_FULLFLOW_PORT={}\n", ports[1]), "{file}");
    browser.go(&scene.page("logs/second"))?;
    browser.wait_for("#lines", "reloaded")?;
    // The other side is gone: it is said, and nothing else is held up.
    drop(sshd);
    browser.go(&scene.page("overview/local"))?;
    browser.wait_for(".headline", "No receiver yet")?;
    browser.go(&scene.page("equipment"))?;
    browser.click("[data-server=second] [data-action=remove]")?;
    browser.click("dialog [data-action=remove]")?;
    browser.wait_for("#said", "removed")?;
    ensure!(browser.count("[data-server]")? == 1);
    browser.is_content()
}
