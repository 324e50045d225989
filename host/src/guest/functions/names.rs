//! Names of functions, and what is said to one who got one wrong.

use std::fmt::Write as _;

use super::OF;
use super::shape::Cut;
use crate::limits::MISFIT_BYTES_MAX;
use crate::protocol::harmless;

/// Longest name, as it was asked for, of which similar ones are looked for. Theirs are not longer.
const COMPARED_CHARS_MAX: usize = 64;

/// Letters that may differ between similar names: one in this many, and one more.
const ALIKE_ONE_OF: usize = 3;

/// Returns a function's name without its interface.
pub(super) fn bare(name: &str) -> &str {
    name.rsplit_once(OF).map_or(name, |(_, bare)| bare)
}

/// Says that there is no function of this name, which ones are similar and which ones there are.
pub(super) fn unknown<'a>(wanted: &str, names: impl Iterator<Item = &'a String> + Clone) -> String {
    let mut text = Cut::new(MISFIT_BYTES_MAX);
    // What does not fit is marked as cut.
    let shown: String = harmless(wanted).chars().take(COMPARED_CHARS_MAX).collect();
    write!(text, "the code exports no function `{shown}`").ok();
    let nearest = names
        .clone()
        .map(|name| (distance(wanted, bare(name)), name))
        .filter(|(distance, _)| *distance <= 1 + wanted.chars().count() / ALIKE_ONE_OF)
        .min();
    if let Some((_, name)) = nearest {
        write!(text, "; did you mean `{name}`?").ok();
    }
    write!(text, " It exports {}", list(names)).ok();
    text.into_text()
}

/// Says that several functions have this name.
pub(super) fn ambiguous<'a>(wanted: &str, names: impl Iterator<Item = &'a String>) -> String {
    let mut text = Cut::new(MISFIT_BYTES_MAX);
    // What does not fit is marked as cut.
    write!(text, "several functions are named `{wanted}`, say which one: {}", list(names)).ok();
    text.into_text()
}

/// No more than fits: a component may have thousands.
fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let mut text = Cut::new(MISFIT_BYTES_MAX);
    for (at, name) in names.enumerate() {
        if write!(text, "{}`{name}`", if at > 0 { ", " } else { "" }).is_err() {
            break;
        }
    }
    text.into_text()
}

/// Returns in how many letters two names differ, at most; far more if one of them is very long.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().max(other.len()) > COMPARED_CHARS_MAX {
        return usize::MAX;
    }
    // The distances of what was read of `one` to each beginning of `other`.
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.iter().enumerate() {
        let mut corner = at;
        row[0] = at + 1;
        for (place, against) in other.iter().enumerate() {
            let changed = corner + usize::from(letter != against);
            corner = row[place + 1];
            row[place + 1] = changed.min(corner + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_what_was_changed_added_and_left_out() {
        for (one, other, expected) in [
            ("", "", 0),
            ("add-item", "add-item", 0),
            ("add-itm", "add-item", 1),
            ("ad-items", "add-item", 2),
            ("points", "reward", 6),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
        assert_eq!(distance("a", &"b".repeat(1000)), usize::MAX);
    }

    #[test]
    fn who_got_a_name_wrong_is_told_the_right_one() {
        let names = ["a:b/c#add-item", "points"].map(str::to_owned);
        let text = unknown("add-itm", names.iter());
        let expected = "the code exports no function `add-itm`; did you mean `a:b/c#add-item`? It \
                        exports `a:b/c#add-item`, `points`";
        assert_eq!(text, expected);
        let far = unknown("x", names.iter());
        assert!(!far.contains("did you mean"), "{far}");
        let many: Vec<String> = (0..1000).map(|n| format!("function-{n}")).collect();
        assert!(unknown("function", many.iter()).len() <= MISFIT_BYTES_MAX);
    }
}
