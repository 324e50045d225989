//! Words of others, before they reach a log or a terminal.

/// Whether a character shows what it is: no control character, no mark that reorders or hides text,
/// nothing that takes no room, no space but the plain one.
pub fn is_plain(c: char) -> bool {
    // The code points that Unicode calls "default ignorable", and annotations.
    let invisible = matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !invisible && (c == ' ' || !c.is_whitespace())
}

/// Returns as many whole characters of a text as fit into so many bytes.
pub fn at_most(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Returns words of a guest or a peer without what could move the cursor, fake another line or show
/// something else than they are. Other spaces become plain ones.
pub fn harmless(words: &str) -> String {
    let mut safe = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            c if is_plain(c) => safe.push(c),
            c if c.is_whitespace()
                && !c.is_control()
                && !('\u{2028}'..='\u{2029}').contains(&c) =>
            {
                safe.push(' ');
            }
            // A mark of an emoji: what it changes is not worth a line of escapes.
            '\u{200d}' | '\u{fe0f}' => {}
            c => safe.extend(c.escape_default()),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_cannot_move_the_cursor() {
        let bad = "a\u{1b}[2J\u{9b}31m\u{7}b\r\nc\u{202e}d\u{2066}\u{200b}\u{2028}e\u{e0041}";
        let safe = harmless(bad);
        assert!(safe.chars().all(is_plain), "{safe:?}");
        let escaped =
            "a\\u{1b}[2J\\u{9b}31m\\u{7}b\\r\\nc\\u{202e}d\\u{2066}\\u{200b}\\u{2028}e\\u{e0041}";
        assert_eq!(safe, escaped);
        assert_eq!(harmless("größer\u{a0}als 🎲, \u{2764}\u{fe0f}"), "größer als 🎲, \u{2764}");
    }
}
