//! The page for people: files that are part of the program, and ask this interface like anybody else.
//!
//! They hold nothing of the cluster, so they need no token; what they ask does.

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::problem::Problem;

/// What the page may do: run and show what this node serves under `/page`, ask this node, and nothing
/// else. No text ever becomes markup or code, not even through a mistake of the page's.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The page itself.
const INDEX: File = file("index.html", "text/html", include_str!("page/index.html"));

/// What it is made of.
const FILES: [File; 17] = {
    const SCRIPT: &str = "text/javascript";
    [
        file("api.js", SCRIPT, include_str!("page/api.js")),
        file("app.js", SCRIPT, include_str!("page/app.js")),
        file("card.js", SCRIPT, include_str!("page/card.js")),
        file("census.js", SCRIPT, include_str!("page/census.js")),
        file("charts.js", SCRIPT, include_str!("page/charts.js")),
        file("confirm.js", SCRIPT, include_str!("page/confirm.js")),
        file("dom.js", SCRIPT, include_str!("page/dom.js")),
        file("events.js", SCRIPT, include_str!("page/events.js")),
        file("names.js", SCRIPT, include_str!("page/names.js")),
        file("nodes.js", SCRIPT, include_str!("page/nodes.js")),
        file("picture.js", SCRIPT, include_str!("page/picture.js")),
        file("players.js", SCRIPT, include_str!("page/players.js")),
        file("stats.js", SCRIPT, include_str!("page/stats.js")),
        file("words.js", SCRIPT, include_str!("page/words.js")),
        file("panels.css", "text/css", include_str!("page/panels.css")),
        file("style.css", "text/css", include_str!("page/style.css")),
        file("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ]
};

/// A file of the page.
#[derive(Debug, Clone, Copy)]
struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const fn file(name: &'static str, kind: &'static str, text: &'static str) -> File {
    File { name, kind, text }
}

/// Returns the routes of the page.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(index)).route("/page/{file}", get(part))
}

async fn index(headers: HeaderMap) -> Response {
    serve(INDEX, &headers)
}

async fn part(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let found = FILES.into_iter().find(|file| file.name == name);
    let found = found.ok_or_else(|| Problem::new("not_found", "the page has no such file"))?;
    Ok(serve(found, &headers))
}

/// A browser keeps a file and asks each time whether it has changed: after another version of the
/// program was started, all of its files are of that version.
fn serve(File { kind, text, .. }: File, asked: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..32]);
    let known = asked.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    // A proxy that has compressed it calls the tag a weak one.
    let is_known = known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag);
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, format!("{kind}; charset=utf-8"))], text).into_response()
    };
    let headers = response.headers_mut();
    // In hexadecimal.
    headers.insert(ETAG, HeaderValue::try_from(tag).expect("a tag is plain text"));
    for (name, value) in [
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Longest file of the page: what one reads in one sitting.
    const LINES_MAX: usize = 400;

    fn all() -> impl Iterator<Item = File> {
        FILES.into_iter().chain([INDEX])
    }

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page");
        let there = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let there: BTreeSet<String> = there.map(|name| name.into_string().unwrap()).collect();
        assert_eq!(there, all().map(|file| file.name.to_owned()).collect());
    }

    #[test]
    fn what_a_file_names_is_there() {
        for File { name, text, .. } in all() {
            let quoted = text
                .split('"')
                .filter_map(|text| text.strip_prefix("/page/").or_else(|| text.strip_prefix("./")));
            for wanted in quoted {
                assert!(FILES.iter().any(|file| file.name == wanted), "{name} names {wanted}");
            }
        }
        assert!(INDEX.text.contains("\"/page/app.js\""));
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_no_text_becomes_markup() {
        for File { name, text, .. } in all() {
            // The name of a language for pictures; nobody is asked for it.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for banned in [
                "http:",
                "https:",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "DOMParser",
                "eval(",
                "Function(",
                "localStorage",
                "style=",
                "onclick",
                "@import",
            ] {
                assert!(!text.contains(banned), "{name}: {banned}");
            }
            assert!(!text.contains("<script>") && !text.contains("<style"), "{name} is inline");
            assert!(text.lines().count() < LINES_MAX, "{name} is too long");
        }
    }

    #[test]
    fn the_page_has_its_policy_and_is_not_sent_again_when_it_is_known() {
        let sent = serve(INDEX, &HeaderMap::new());
        assert_eq!(sent.status(), StatusCode::OK);
        assert_eq!(sent.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(sent.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(POLICY.contains(part), "{part}");
        }
        assert!(!POLICY.contains("unsafe"));
        let tag = sent.headers()[ETAG].clone();
        for (known, status) in [
            (tag.to_str().unwrap().to_owned(), StatusCode::NOT_MODIFIED),
            (format!("\"x\", W/{}", tag.to_str().unwrap()), StatusCode::NOT_MODIFIED),
            ("\"x\"".to_owned(), StatusCode::OK),
        ] {
            let asked = HeaderMap::from_iter([(IF_NONE_MATCH, known.parse().unwrap())]);
            let again = serve(INDEX, &asked);
            assert_eq!(again.status(), status, "{known}");
            assert_eq!(again.headers()[CONTENT_SECURITY_POLICY], POLICY);
        }
        let other = serve(FILES[0], &HeaderMap::new());
        assert_ne!(other.headers()[ETAG], tag);
    }
}
