//! A real browser, told what to do as a person would: Chromium through the WebDriver protocol.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use crate::wait::{PATIENCE, eventually};

/// The key under which the protocol has the id of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How long a command may take: the browser's start, mostly.
const COMMAND_TIME_MAX: Duration = PATIENCE.saturating_mul(3);

/// Nothing but the page is asked for anything, and nothing is kept.
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
];

/// How a page looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// A browser with one window. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    agent: Agent,
    base: String,
    session: String,
}

impl Browser {
    /// Starts one, with its files in `folder`.
    ///
    /// # Errors
    ///
    /// When there is none on this machine.
    ///
    /// # Panics
    ///
    /// When there is one that does not start.
    pub fn start(folder: &Path) -> Result<Self> {
        let version = Command::new("chromedriver").arg("--version").output();
        let version = version.context("`chromedriver` is not here")?;
        ensure!(version.status.success(), "`chromedriver` does not run");
        let folder = folder.join("browser");
        fs::create_dir_all(&folder)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = File::create(folder.join("chromedriver.log"))?;
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdin(Stdio::null());
        let driver = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let config = Agent::config_builder().http_status_as_error(false);
        let agent = config.timeout_global(Some(COMMAND_TIME_MAX)).build().into();
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Self { driver, agent, base, session: String::new() };
        eventually(PATIENCE, || match browser.try_command("GET", "/status", None) {
            Ok(told) if told["ready"] == true => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let profile = format!("--user-data-dir={}", folder.join("profile").display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let body = json!({ "capabilities": { "alwaysMatch": wanted } });
        let told = browser.command("POST", "/session", Some(body));
        let id = told["sessionId"].as_str().expect("a session has an id");
        browser.session = format!("/session/{id}");
        Ok(browser)
    }

    /// Opens the page of a node.
    ///
    /// # Panics
    ///
    /// When it is not loaded.
    #[track_caller]
    pub fn go(&self, node: SocketAddr, path: &str) {
        self.post("/url", json!({ "url": format!("http://{node}{path}") }));
    }

    /// Makes the window this large, and the page look like that.
    ///
    /// # Panics
    ///
    /// When the browser does not.
    #[track_caller]
    pub fn look(&self, width: u32, height: u32, scheme: Scheme) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tool("Emulation.setDeviceMetricsOverride", size);
        let scheme = if scheme == Scheme::Dark { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.tool("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    #[track_caller]
    fn tool(&self, command: &str, params: Value) {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": params }));
    }

    /// Clicks on what the selector finds first.
    ///
    /// # Panics
    ///
    /// When it is not there in time, or cannot be clicked on.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        eventually(PATIENCE, || {
            let element = self.find(selector)?;
            self.try_post(&format!("{element}/click"), json!({}))
        });
    }

    /// Types a text in the place of what was there.
    ///
    /// # Panics
    ///
    /// When there is no such field in time.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        let element = eventually(PATIENCE, || {
            let element = self.find(selector)?;
            self.try_post(&format!("{element}/clear"), json!({}))?;
            Ok(element)
        });
        self.post(&format!("{element}/value"), json!({ "text": text }));
    }

    /// Presses keys, wherever the focus is.
    ///
    /// # Panics
    ///
    /// When the browser does not.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let press = |key: char| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        };
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", json!({ "actions": [keyboard] }));
    }

    /// Returns what a person reads in each thing that the selector finds.
    ///
    /// # Panics
    ///
    /// When the browser does not say so.
    #[track_caller]
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return Array.from(document.querySelectorAll(arguments[0]), \
            (found) => found.innerText ?? found.textContent)";
        let texts = self.script(script, json!([selector]));
        serde_json::from_value(texts).expect("texts")
    }

    /// Waits until one of the things that the selector finds reads like this, and returns it.
    ///
    /// # Panics
    ///
    /// When none does in time.
    #[track_caller]
    pub fn await_text(&self, selector: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(PATIENCE, || {
            let texts = self.texts(selector);
            let found = texts.iter().find(|text| wanted(text)).cloned();
            found.ok_or_else(|| format!("{selector}: {texts:#?}\n{:#?}", self.complaints()))
        })
    }

    /// Waits until the selector finds something.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    #[track_caller]
    pub fn await_there(&self, selector: &str) {
        self.await_text(selector, |_| true);
    }

    /// Runs a script in the page, and returns what it returns.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn script(&self, script: &str, arguments: Value) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": arguments }))
    }

    /// Returns what the browser has complained about since it was asked last: errors of scripts, what
    /// the page's policy forbids, and requests that failed.
    ///
    /// # Panics
    ///
    /// When it does not say so.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let told = self.post("/se/log", json!({ "type": "browser" }));
        let entries = told.as_array().expect("a list").iter();
        entries.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Returns what the window looks like, as PNG.
    ///
    /// # Panics
    ///
    /// When the browser does not say so.
    #[track_caller]
    pub fn screenshot(&self) -> Vec<u8> {
        let told = self.command("GET", &format!("{}/screenshot", self.session), None);
        from_base64(told.as_str().expect("a text")).expect("base64")
    }

    /// Finds something, and returns its path in the protocol.
    fn find(&self, selector: &str) -> Result<String, String> {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.try_post("/element", wanted)?;
        let id = found[ELEMENT].as_str().ok_or_else(|| format!("{selector}: {found}"))?;
        Ok(format!("/element/{id}"))
    }

    fn try_post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.try_command("POST", &format!("{}{path}", self.session), Some(body))
    }

    #[track_caller]
    fn post(&self, path: &str, body: Value) -> Value {
        self.command("POST", &format!("{}{path}", self.session), Some(body))
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        match self.try_command(method, path, body) {
            Ok(value) => value,
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    fn try_command(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/json");
        let request = request.body(body).map_err(|error| error.to_string())?;
        let mut response = self.agent.run(request).map_err(|error| error.to_string())?;
        let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let mut told: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if response.status().is_success() {
            return Ok(told["value"].take());
        }
        let error = &told["value"];
        Err(format!("{}: {}", error["error"], error["message"]))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, and would outlive the driver that is killed.
        self.try_command("DELETE", &self.session, None).ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

/// Reads base64 with its padding; `None` if it is none.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(letters.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in letters.bytes() {
        let value = LETTERS.iter().position(|known| *known == letter)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("iVBORw0K", b"\x89PNG\r\n"),
            ("/+8=", b"\xff\xef"),
        ] {
            assert_eq!(from_base64(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(from_base64("Zm9v\n"), None);
    }
}
