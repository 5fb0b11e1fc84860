//! A daemon with nothing but a web interface, and who may sign in to it.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::daemon::{self, Daemon};
use ipfix_balancer_tests::http::{Answer, request};
use ipfix_balancer_tests::net::{V4, free_address};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::Browser;

/// The account of the role admin.
pub const ADMIN: (&str, &str) = ("ann", "correct horse battery");
/// The account of the role read-only.
pub const READER: (&str, &str) = ("bob", "staple battery horse");

/// A daemon and its interface.
pub struct Scene {
    pub daemon: Daemon,
    pub address: SocketAddr,
    pub folder: TempDir,
}

impl Scene {
    /// Starts a daemon whose configuration says nothing but where its interface is.
    pub fn new() -> Result<Self> {
        Self::with("# kept\nSECRET=of-somebody-else\n")
    }

    /// Likewise, with more in the file.
    pub fn with(text: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address(V4)?;
        let dir = folder.path().join("ui").display().to_string();
        let text = format!("{text}IPFIX_UI_LISTEN={address}\nIPFIX_UI_DIR={dir}\n");
        let scene = Self { daemon: Daemon::start_with(&text)?, address, folder };
        scene.add_account(ADMIN, "admin")?;
        scene.add_account(READER, "read-only")?;
        Ok(scene)
    }

    /// `ipfix-balancer ui-account add`.
    pub fn add_account(&self, (name, password): (&str, &str), role: &str) -> Result<()> {
        let mut command = Command::new(daemon::binary()?);
        command.args(["ui-account", "add", "--role", role, name, "--config"]);
        let mut child = command.arg(self.daemon.config()).stdin(Stdio::piped()).spawn()?;
        writeln!(child.stdin.take().context("no standard input")?, "{password}")?;
        ensure!(child.wait()?.success(), "{command:?}");
        Ok(())
    }

    /// Where the interface keeps its files.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("ui")
    }

    /// What the configuration file says.
    pub fn file(&self) -> Result<String> {
        Ok(fs::read_to_string(self.daemon.config())?)
    }

    /// The address of a page.
    pub fn page(&self, page: &str) -> String {
        format!("http://{}/#/{page}", self.address)
    }

    /// Signs in with a browser.
    pub fn sign_in(&self, browser: &Browser, (name, password): (&str, &str)) -> Result<()> {
        browser.go(&format!("http://{}/", self.address))?;
        browser.enter("#name", name)?;
        browser.enter("#password", password)?;
        browser.click("button[type=submit]")?;
        browser.wait_for("#visitor", name)
    }

    /// Signs in by the API.
    pub fn client(&self, (name, password): (&str, &str)) -> Result<ApiClient> {
        let answer = self.attempt(name, password)?;
        ensure!(answer.status == 200, "{answer:?}");
        let cookie = answer.header.iter().find_map(|line| line.strip_prefix("set-cookie: "));
        let cookie = cookie.and_then(|line| line.split(';').next()).context("no cookie")?;
        let csrf = body(&answer)?["csrf"].as_str().context("no token")?.to_owned();
        Ok(ApiClient { address: self.address, cookie: cookie.to_owned(), csrf })
    }

    /// Tries to sign in by the API.
    pub fn attempt(&self, name: &str, password: &str) -> Result<Answer> {
        let body = json!({"name": name, "password": password}).to_string();
        request(self.address, "POST", "/api/session", &[JSON], &body)
    }
}

/// Says that a body is JSON.
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// Somebody who uses the API without pages.
pub struct ApiClient {
    pub address: SocketAddr,
    pub cookie: String,
    pub csrf: String,
}

impl ApiClient {
    /// Sends a request with everything that it takes.
    pub fn send(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        let header = [("cookie", self.cookie.as_str()), ("x-csrf-token", self.csrf.as_str()), JSON];
        request(self.address, method, path, &header, body)
    }

    /// What is answered to a GET.
    pub fn get(&self, path: &str) -> Result<Value> {
        let answer = self.send("GET", path, "")?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        body(&answer)
    }
}

/// The body of an answer.
pub fn body(answer: &Answer) -> Result<Value> {
    serde_json::from_str(&answer.body).with_context(|| format!("{answer:?}"))
}
