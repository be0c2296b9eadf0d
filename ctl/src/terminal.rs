//! Text for a terminal: what others wrote may hold control characters, which would move the cursor, change
//! the window's title or hide what comes after.

/// The text as part of one line: each control character is a `?`.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// The text as lines of their own: as [`line()`], but line ends and tabs stay.
pub(crate) fn lines(text: &str) -> String {
    let harmless = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    text.chars().map(|letter| if harmless(letter) { letter } else { '?' }).collect()
}

/// JSON with the control characters escaped that serde leaves as they are, U+007F to U+009F: they are in
/// strings only, where the escape means the same (RFC 8259 section 7).
pub(crate) fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && !letter.is_ascii_whitespace() {
            escaped += &format!("\\u{:04x}", u32::from(letter));
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\x1b[2Jb\r\u{9b}2Kc\x7f\td\ne";

    #[test]
    fn no_control_character_gets_through() {
        assert_eq!(line(HOSTILE), "a?[2Jb??2Kc??d?e");
        assert_eq!(lines(HOSTILE), "a?[2Jb??2Kc?\td\ne");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let text = serde_json::to_string_pretty(&[HOSTILE]).unwrap();
        let escaped = json(&text);
        assert!(!escaped.contains(|letter: char| letter.is_control() && letter != '\n'));
        assert_eq!(serde_json::from_str::<[String; 1]>(&escaped).unwrap()[0], HOSTILE);
    }
}
