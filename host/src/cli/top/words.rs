//! Numbers and times as they stand in a narrow column.

use std::time::Duration;

use ratatui::text::Span;

/// Stands where nothing is known.
pub(super) const UNKNOWN: &str = "-";

/// Returns a rate with no more digits than tell something.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        ..9.95 => format!("{per_second:.1}"),
        ..99_999.5 => format!("{per_second:.0}"),
        ..9_999_500.0 => format!("{:.0}k", per_second / 1e3),
        _ => format!("{:.0}M", per_second / 1e6),
    }
}

/// Returns a count.
pub(super) fn count(count: u64) -> String {
    match count {
        0..1_000_000 => count.to_string(),
        1_000_000..1_000_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// Returns bytes in the largest unit of which there is one.
pub(super) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Returns a time in its two largest units.
pub(super) fn time(millis: u64) -> String {
    let secs = millis / 1000;
    let (minutes, hours, days) = (secs / 60, secs / 3600, secs / 86_400);
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{minutes}m{:02}s", secs % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Returns an age.
pub(super) fn age(age: Duration) -> String {
    time(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

/// Returns the time of the day, in UTC, of a time in milliseconds since 1970.
pub(super) fn of_day(millis: u64) -> String {
    let secs = millis / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
}

/// Returns how many columns words take.
pub(super) fn width(words: &str) -> usize {
    Span::raw(words).width()
}

/// Returns words that take so many columns at most; what was cut is marked.
pub(super) fn cut(words: &str, columns: usize) -> String {
    if width(words) <= columns {
        return words.to_owned();
    }
    let mut kept = String::new();
    let mut room = columns.saturating_sub(1);
    for c in words.chars() {
        let taken = width(c.encode_utf8(&mut [0; 4]));
        if taken > room {
            break;
        }
        room -= taken;
        kept.push(c);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_to_their_columns() {
        for (value, text) in [(0.0, "0"), (0.34, "0.3"), (9.99, "10"), (4711.4, "4711")] {
            assert_eq!(rate(value), text);
        }
        assert_eq!((rate(123_456.0), rate(12_345_678.0)), ("123k".to_owned(), "12M".to_owned()));
        assert_eq!((count(999_999), count(2_000_000)), ("999999".to_owned(), "2000k".to_owned()));
        for (value, text) in [(0.0, "0 B"), (999.0, "999 B"), (1536.0, "1.5 KiB")] {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(bytes(300.0 * 1024.0 * 1024.0), "300 MiB");
    }

    #[test]
    fn times_have_two_units() {
        let second = 1000;
        for (millis, text) in [
            (999, "0s"),
            (61 * second, "1m01s"),
            (3600 * second, "1h00m"),
            (90_000 * second, "1d01h"),
        ] {
            assert_eq!(time(millis), text);
        }
        assert_eq!(of_day(86_400_000 + 3_723_999), "01:02:03");
    }

    #[test]
    fn what_is_cut_is_marked_and_fits() {
        assert_eq!(cut("app_node1", 9), "app_node1");
        assert_eq!(cut("app_node1", 8), "app_nod…");
        // Each of these takes two columns.
        assert_eq!((cut("漢字漢字", 5).as_str(), width(&cut("漢字漢字", 4))), ("漢字…", 3));
    }
}
