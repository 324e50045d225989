//! What a request says in its headers: its key, how long it waits, who asks.

use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use utoipa::IntoParams;

use super::problem::Problem;
use crate::clock;
use crate::limits::CALL_DEADLINE;
use crate::protocol::CallKey;

/// The header with the caller's key: draft-ietf-httpapi-idempotency-key-header.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header that may say how long the caller waits: `Prefer: wait=5`, RFC 7240.
const PREFER: &str = "prefer";

/// Longest time that a caller may ask for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The headers of a call, as they are described.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "`Terms` reads them")]
pub(super) struct CallHeaders {
    /// A UUID of version 7. The same key is the same call, however often and through whatever node it
    /// is sent.
    #[param(rename = "Idempotency-Key")]
    #[param(
        pattern = "^\"?[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\"?$"
    )]
    idempotency_key: Option<String>,
    /// `wait=5`: answer within five seconds, if only to say that nobody knows (RFC 7240).
    #[param(rename = "Prefer")]
    prefer: Option<String>,
}

/// The key of a call, and until when somebody waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) key: CallKey,
    pub(super) deadline: Instant,
}

impl<S: Sync> FromRequestParts<S> for Terms {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let key = match key(&parts.headers)? {
            Some(key) => key,
            None => CallKey::random(clock::unix_millis()),
        };
        Ok(Self { key, deadline: clock::now() + wait(&parts.headers) })
    }
}

/// The caller's key. The draft has it as a string in quotation marks, and many send it without.
fn key(headers: &HeaderMap) -> Result<Option<CallKey>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let bad = |why: &str| {
        let detail = format!(
            "{why}. The header Idempotency-Key takes a UUID of version 7, whose time says how long a \
             player must remember it; POST /v1/keys makes one"
        );
        Problem::new("bad_key", detail)
    };
    if keys.next().is_some() {
        return Err(bad("there are two keys"));
    }
    let text = key.to_str().map_err(|_| bad("the key is no text"))?.trim();
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    inner.parse().map(Some).map_err(|error| bad(&format!("{error}")))
}

/// How long the caller waits. What cannot be read is not preferred: RFC 7240 has it ignored.
pub(super) fn wait(headers: &HeaderMap) -> Duration {
    let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let preferences = texts.flat_map(|text| text.split([',', ';']));
    let mut waits = preferences.filter_map(|preference| {
        let (name, seconds) = preference.split_once('=')?;
        let seconds = seconds.trim().trim_matches('"').parse().ok()?;
        name.trim().eq_ignore_ascii_case("wait").then(|| Duration::from_secs(seconds))
    });
    waits.next().map_or(CALL_DEADLINE, |wait| wait.clamp(Duration::from_secs(1), WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_key_is_read_with_and_without_quotation_marks() {
        let text = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        let quoted = "\"017f22e2-79b0-7cc3-98c4-dc0c0c07398f\"";
        for value in [text, quoted] {
            let key = key(&headers(IDEMPOTENCY_KEY, &[value])).unwrap();
            assert_eq!(key.map(|key| key.to_string()).as_deref(), Some(text));
        }
        assert_eq!(key(&HeaderMap::new()).unwrap(), None);
        for bad in [
            &["919108f7-52d1-4320-9bac-f847db4148a8"][..],
            &["order-17"],
            &[""],
            &["\"017f22e2-79b0-7cc3-98c4-dc0c0c07398f"],
            &[text, text],
        ] {
            assert!(key(&headers(IDEMPOTENCY_KEY, bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_caller_waits_as_long_as_it_prefers() {
        let of = |values: &[&'static str]| wait(&headers(PREFER, values));
        assert_eq!(of(&[]), CALL_DEADLINE);
        assert_eq!(of(&["wait=5"]), Duration::from_secs(5));
        assert_eq!(of(&["respond-async", "return=minimal, Wait=\"7\""]), Duration::from_secs(7));
        assert_eq!(of(&["wait=0"]), Duration::from_secs(1));
        assert_eq!(of(&["wait=99999"]), WAIT_MAX);
        for unread in ["wait", "wait=", "wait=-1", "wait=soon", "waiting=5"] {
            assert_eq!(of(&[unread]), CALL_DEADLINE, "{unread}");
        }
    }
}
