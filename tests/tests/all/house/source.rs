//! Rust sources, with a lexer just good enough to tell code from comments and texts.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the root of the workspace.
pub(super) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("this crate is in the workspace").to_owned()
}

/// One file of Rust.
pub(super) struct Source {
    /// Path from the root of the workspace, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// Returns all files of Rust of the workspace, in order of their paths.
    pub(super) fn all() -> Vec<Self> {
        let mut sources = Vec::new();
        for member in ["guest-player", "guests/double-points", "host", "tests"] {
            collect(&root().join(member), &mut sources);
        }
        sources.sort_by(|a: &Self, b| a.path.cmp(&b.path));
        assert!(sources.len() > 10, "the workspace has sources");
        sources
    }

    /// Returns the text without comments, and without what is inside texts and characters.
    pub(super) fn code(&self) -> String {
        code(&self.text)
    }
}

fn collect(folder: &Path, sources: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).expect("read a folder of the workspace");
    for path in entries.map(|entry| entry.expect("read an entry").path()) {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("read a source");
            let relative = path.strip_prefix(root()).expect("it is in the workspace");
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            sources.push(Source { path: parts.join("/"), text });
        }
    }
}

fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest, 1),
            'r' | 'b' | 'c' if !ends_in_word(&code) => prefixed_text(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            // Whatever it was, it separates words.
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

fn ends_in_word(code: &str) -> bool {
    code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Length of a comment, which may contain comments.
fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    loop {
        if text[at..].starts_with("/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if text[at..].starts_with("*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return at;
            }
        } else {
            match text[at..].chars().next() {
                Some(c) => at += c.len_utf8(),
                None => return at,
            }
        }
    }
}

/// Length of a text whose content starts at `start`.
fn quoted(text: &str, start: usize) -> usize {
    let mut escaped = false;
    for (at, c) in text[start..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return start + at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of a text with a prefix such as `r#"` or `b"`, or 0 if there is none.
fn prefixed_text(text: &str) -> usize {
    let prefix = text.len() - text.trim_start_matches(['r', 'b', 'c']).len();
    let hashes = text[prefix..].len() - text[prefix..].trim_start_matches('#').len();
    let start = prefix + hashes + 1;
    if prefix > 2 || text.as_bytes().get(start - 1) != Some(&b'"') {
        return 0;
    }
    if !text[..prefix].contains('r') {
        return if hashes == 0 { quoted(text, start) } else { 0 };
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// Length of a character, or 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            text[after..].find('\'').map_or(0, |end| after + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

#[test]
fn code_is_what_is_left_without_comments_and_texts() {
    let words = |text: &str| code(text).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words("a // b\nc"), "a c");
    assert_eq!(words("a /* b /* c */ d */ e"), "a e");
    assert_eq!(words(r#"a("b \" c", d)"#), "a( , d)");
    assert_eq!(words(r##"a(r#"b " c"#, b"d", e)"##), "a( , , e)");
    assert_eq!(words(r"fn f<'a>(c: &'a str) { '\'' == '\u{1b}' || 'x' }"), {
        "fn f<'a>(c: &'a str) { == || }"
    });
    assert_eq!(words("for_ = 1; r = b"), "for_ = 1; r = b");
}
