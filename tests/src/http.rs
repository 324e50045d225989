//! Asking nodes over HTTP, as a program without our client does.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

use crate::wait::PATIENCE;

/// What a node answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The response's status.
    pub status: u16,
    /// What kind of text the body is.
    pub kind: String,
    /// When to ask again, in seconds, if it says so.
    pub retry_after: Option<u64>,
    /// The body; a text if it is no JSON.
    pub body: Value,
}

impl Answered {
    /// Returns the body of a success.
    ///
    /// # Panics
    ///
    /// When it is none.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }

    /// Returns the body of a problem of this status and kind.
    ///
    /// # Panics
    ///
    /// When it is something else.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, &self.body["code"]), (status, &code.into()), "{self:?}");
        assert_eq!(self.kind, "application/problem+json");
        assert_eq!(self.body["status"], status);
        self.body
    }
}

/// Asks one address.
#[derive(Debug, Clone)]
pub struct Http {
    agent: Agent,
    base: String,
    headers: Vec<(&'static str, String)>,
}

impl Http {
    /// Returns what asks this address.
    pub fn new(addr: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_idle_age(Duration::from_secs(5))
            .build();
        Self { agent: config.into(), base: format!("http://{addr}"), headers: Vec::new() }
    }

    /// Sends this header, too.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    /// Asks, with a body if that is not empty.
    ///
    /// # Errors
    ///
    /// When no response comes.
    pub fn try_ask(&self, method: &str, path: &str, body: &[u8]) -> Result<Answered, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let response = self.agent.run(request.body(body)?)?;
        read(response)
    }

    /// Asks, with a body if that is not empty.
    ///
    /// # Panics
    ///
    /// When no response comes.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answered {
        match self.try_ask(method, path, body) {
            Ok(answered) => answered,
            Err(error) => panic!("{method} {}{path}: {error}", self.base),
        }
    }

    /// Returns the body of a success that is no text.
    ///
    /// # Panics
    ///
    /// When it is none.
    #[track_caller]
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let request = Request::builder().uri(format!("{}{path}", self.base)).body(());
        let response = self.agent.run(request.expect("a path"));
        let mut response = response.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(response.status(), 200);
        response.body_mut().read_to_vec().expect("the body is whole")
    }

    /// Looks at something.
    ///
    /// # Panics
    ///
    /// When no response comes.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, b"")
    }

    /// Sends JSON.
    ///
    /// # Panics
    ///
    /// When no response comes.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answered {
        let json = self.clone().with("content-type", "application/json");
        json.ask("POST", path, body.to_string().as_bytes())
    }

    /// Rewards a player.
    ///
    /// # Panics
    ///
    /// When no response comes.
    #[track_caller]
    pub fn reward(&self, player: &str, points: impl Into<Value>) -> Answered {
        let points = points.into();
        self.post(&format!("/v1/players/{player}/reward"), &serde_json::json!({ "points": points }))
    }
}

fn read(mut response: Response<Body>) -> Result<Answered, ureq::Error> {
    let header = |name| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let kind = header("content-type").unwrap_or_default();
    let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string()?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answered { status, kind, retry_after, body })
}
