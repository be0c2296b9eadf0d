//! Text for a terminal. Names and messages may contain control characters, which would move the cursor,
//! change the window's title, or hide the text after them.

/// Makes text part of one line: replaces each control character by `?`.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// Makes text safe as whole lines: replaces control characters by `?`, but keeps line ends and tabs.
pub(crate) fn lines(text: &str) -> String {
    let harmless = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    text.chars().map(|letter| if harmless(letter) { letter } else { '?' }).collect()
}

/// Escapes the control characters that serde_json does not, U+007F to U+009F. In JSON they occur only in
/// strings, where the escape means the same (RFC 8259, section 7).
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
    fn control_characters_are_replaced() {
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
