//! Who may ask what: bearer tokens, the host that was named, and how much at a time.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::desk::{Caller, Desk, Shared};
use super::problem::Problem;
use crate::clock;
use crate::net::Scope;

/// The other side of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Lets a request through to what a scope is needed for.
pub(super) async fn check(
    State((desk, needed)): State<(Desk, Scope)>,
    request: Request,
    next: Next,
) -> Response {
    let address = request.extensions().get().map(|Peer(peer)| peer.ip());
    let allowed = allow(&desk, needed, request.headers(), address);
    if let Err(problem) = allowed {
        return problem.into_response();
    }
    let Ok(room) = desk.room.try_acquire() else {
        let detail = format!("{} serves too many requests; nothing was done", desk.node());
        return Problem::new("overloaded", detail).into_response();
    };
    let response = next.run(request).await;
    drop(room);
    response
}

fn allow(
    desk: &Shared,
    needed: Scope,
    headers: &HeaderMap,
    address: Option<IpAddr>,
) -> Result<(), Problem> {
    let caller = match bearer(headers)? {
        Some(token) => {
            let grant = desk.tokens.judge(token, clock::unix_millis());
            let grant = grant.map_err(|error| Problem::new("bad_token", error.to_string()))?;
            if grant.scope < needed {
                let detail =
                    format!("the token is for `{}`, and this needs `{needed}`", grant.scope);
                return Err(Problem::new("forbidden", detail));
            }
            Some(Caller::Token(grant.id))
        }
        None if desk.needs_token => {
            let detail = format!(
                "send the header `Authorization: Bearer TOKEN`; `host token new --scope {needed}` \
                 makes one"
            );
            return Err(Problem::new("no_token", detail));
        }
        None => {
            check_host(headers)?;
            address.map(Caller::Address)
        }
    };
    caller.map_or(Ok(()), |caller| desk.count(caller))
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::new("bad_token", "the header is `Authorization: Bearer TOKEN`")),
    }
}

/// A page from elsewhere can have its own name point to this machine and speak to whoever listens here
/// ("DNS rebinding"). It cannot do so with a number, nor with a name that no foreign server gives out:
/// one without a dot.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(HOST).map_or("", |host| host.to_str().unwrap_or("."));
    let is_address = host.parse::<SocketAddr>().is_ok()
        || host.parse::<IpAddr>().is_ok()
        || host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<IpAddr>().is_ok());
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if is_address || !name.contains('.') {
        return check_origin(headers, host);
    }
    let detail = "without a token this node answers for addresses and for names without a dot only, so \
                  that no foreign page can reach it through your browser; show a token, or let the \
                  proxy send `Host: localhost`";
    Err(Problem::new("bad_host", detail))
}

/// Browsers name the page that asks, where something could be changed. A foreign one may not.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    if origin.split_once("://").is_some_and(|(_, page)| page.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    let detail = "a page from elsewhere asks this through your browser; without a token only this node's \
                  own page may";
    Err(Problem::new("bad_host", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn names_that_a_foreign_page_could_have_are_refused() {
        for good in
            ["127.0.0.1:8080", "127.0.0.1", "[::1]:8080", "[::1]", "localhost:8080", "players", ""]
        {
            assert!(check_host(&with("host", good)).is_ok(), "{good}");
        }
        for bad in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example:8080", "a.b"] {
            assert_eq!(check_host(&with("host", bad)).unwrap_err().code(), "bad_host", "{bad}");
        }
    }

    #[test]
    fn foreign_pages_are_refused() {
        let from = |origin: &str| {
            let mut headers = with("host", "127.0.0.1:8080");
            headers.insert(ORIGIN, origin.parse().unwrap());
            check_host(&headers)
        };
        assert!(from("http://127.0.0.1:8080").is_ok());
        assert!(from("https://127.0.0.1:8080").is_ok(), "a proxy may speak TLS");
        for bad in
            ["https://evil.example", "http://127.0.0.1:8081", "http://localhost:8080", "null"]
        {
            assert_eq!(from(bad).unwrap_err().code(), "bad_host", "{bad}");
        }
    }

    #[test]
    fn a_token_is_behind_its_scheme() {
        assert_eq!(bearer(&HeaderMap::new()).unwrap(), None);
        assert_eq!(bearer(&with("authorization", "Bearer abc")).unwrap(), Some("abc"));
        assert_eq!(bearer(&with("authorization", "bearer  abc ")).unwrap(), Some("abc"));
        for bad in ["abc", "Basic abc", "Bearer"] {
            assert_eq!(bearer(&with("authorization", bad)).unwrap_err().code(), "bad_token");
        }
    }
}
