//! A browser, as somebody uses it: what is done is done by clicking and typing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fantoccini::{
    Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand,
};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use ipfix_balancer_tests::{poll, tools::Chromedriver};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::{ParseError, Url};

/// A browser with a window of its own. Dropped, it is closed.
pub struct Browser {
    runtime: Runtime,
    client: Client,
    _driver: Chromedriver,
}

/// Width and height of a window.
pub const DESK: (u32, u32) = (1280, 1000);
pub const PHONE: (u32, u32) = (390, 844);

impl Browser {
    /// Opens a window of this size.
    pub fn open((width, height): (u32, u32)) -> Result<Self> {
        let driver = Chromedriver::start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let arguments = [
            "--headless=new".to_owned(),
            // Tests run as root, in places without the devices that the sandbox wants.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--window-size={width},{height}"),
        ];
        let capabilities = json!({
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "acceptInsecureCerts": true,
        });
        let capabilities = capabilities.as_object().cloned().context("no object")?;
        let address = format!("http://{}", driver.address());
        let client = runtime.block_on(async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities).connect(&address).await
        })?;
        Ok(Self { runtime, client, _driver: driver })
    }

    /// Opens a page.
    pub fn go(&self, address: &str) -> Result<()> {
        Ok(self.runtime.block_on(self.client.goto(address))?)
    }

    /// Clicks on something that is there, or soon will be.
    pub fn click(&self, selector: &str) -> Result<()> {
        self.with(selector, async |element| element.click().await)
    }

    /// Types a text into a field, in place of what is there.
    pub fn enter(&self, selector: &str, text: &str) -> Result<()> {
        self.with(selector, async |element| {
            element.clear().await?;
            element.send_keys(text).await
        })
    }

    /// Picks a value of a list.
    pub fn choose(&self, selector: &str, value: &str) -> Result<()> {
        self.with(selector, async |element| element.select_by_value(value).await)
    }

    /// The text of something that is there, or soon will be.
    pub fn text(&self, selector: &str) -> Result<String> {
        self.with(selector, async |element| element.text().await)
    }

    /// What an attribute of something says.
    pub fn attribute(&self, selector: &str, name: &str) -> Result<String> {
        let value = self.with(selector, async |element| element.attr(name).await)?;
        Ok(value.unwrap_or_default())
    }

    /// How many there are.
    pub fn count(&self, selector: &str) -> Result<usize> {
        Ok(self.runtime.block_on(self.client.find_all(Locator::Css(selector)))?.len())
    }

    /// Waits until something's text contains this.
    pub fn wait_for(&self, selector: &str, text: &str) -> Result<()> {
        let mut last = String::new();
        poll::wait(&format!("{selector} says {text:?}"), || {
            last = self.text(selector).unwrap_or_else(|error| format!("{error:#}"));
            last.contains(text)
        })
        .map_err(|error| error.context(format!("it says {last:?}")))
    }

    /// Runs a script, for what nobody can see.
    pub fn run(&self, script: &str) -> Result<Value> {
        Ok(self.runtime.block_on(self.client.execute(script, Vec::new()))?)
    }

    /// Keeps a picture of the page.
    pub fn picture(&self, name: &str) -> Result<()> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../ui");
        std::fs::create_dir_all(&folder)?;
        let picture = self.runtime.block_on(self.client.screenshot())?;
        Ok(std::fs::write(folder.join(format!("{name}.png")), picture)?)
    }

    /// Errors and warnings on the console since the last call.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let lines = self.runtime.block_on(self.client.issue_cmd(ConsoleLog))?;
        let lines = lines.as_array().context("no list of lines")?.iter();
        let bad = lines.filter(|line| matches!(level(line), "SEVERE" | "WARNING"));
        Ok(bad.map(|line| line["message"].to_string()).collect())
    }

    /// No page has complained.
    pub fn is_content(&self) -> Result<()> {
        let complaints = self.complaints()?;
        ensure!(complaints.is_empty(), "on the console: {complaints:#?}");
        Ok(())
    }

    /// Finds an element and does something with it, anew when the page has replaced it meanwhile.
    fn with<T>(
        &self,
        selector: &str,
        act: impl AsyncFn(Element) -> Result<T, fantoccini::error::CmdError>,
    ) -> Result<T> {
        let mut last = None;
        let done = poll::until(PATIENCE, selector, || {
            let done = self
                .runtime
                .block_on(async { act(self.client.find(Locator::Css(selector)).await?).await });
            done.map_err(|error| last = Some(error)).ok()
        });
        done.map_err(|late| match last {
            Some(error) => {
                anyhow::Error::from(error).context(format!("{selector} (page: {})", self.page()))
            }
            None => late,
        })
    }

    fn page(&self) -> String {
        let script = "return location.href + ': ' + document.body.innerText.slice(0, 1500)";
        self.run(script).map_or_else(|error| format!("{error:#}"), |text| text.to_string())
    }
}

/// How long something may take to be there.
const PATIENCE: Duration = Duration::from_secs(15);

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends it otherwise.
        drop(self.runtime.block_on(self.client.clone().close()));
    }
}

fn level(line: &Value) -> &str {
    line["level"].as_str().unwrap_or_default()
}

/// Chromium's own command: the console's lines.
#[derive(Debug)]
struct ConsoleLog;

impl WebDriverCompatibleCommand for ConsoleLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}
