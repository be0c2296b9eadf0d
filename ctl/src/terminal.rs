//! The terminal: what it can show, colours, and text that is safe on it.
//!
//! Names and messages may contain control characters, which would move the cursor, change the window's title,
//! or hide the text after them. So text loses its control characters before it gets colours.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::BorrowedFd;

use anstyle::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// What stdout can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Control characters act on it.
    pub(crate) is_terminal: bool,
    /// It has colours, and the user wants them.
    pub(crate) has_colour: bool,
}

impl Screen {
    /// Asks stdout and the environment: `TERM`, and `NO_COLOR` (<https://no-color.org>).
    pub(crate) fn of_stdout() -> Screen {
        let is_terminal = io::stdout().is_terminal();
        let is_able = is_terminal && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen { is_terminal, has_colour: is_able && !is_plain }
    }
}

/// What the text of a cell says about its thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tint {
    /// Nothing.
    #[default]
    Plain,
    /// It is a header.
    Header,
    /// All is well.
    Good,
    /// Something may be wrong.
    Doubtful,
    /// Something is wrong.
    Bad,
}

impl Tint {
    /// The text in the tint's colour, without control characters of its own.
    pub(crate) fn paint(self, text: &str, has_colour: bool) -> String {
        let style = match self {
            _ if !has_colour => Style::new(),
            Tint::Plain => Style::new(),
            Tint::Header => Style::new().bold(),
            Tint::Good => AnsiColor::Green.on_default(),
            Tint::Doubtful => AnsiColor::Yellow.on_default(),
            Tint::Bad => AnsiColor::Red.on_default(),
        };
        format!("{style}{}{style:#}", line(text))
    }
}

/// Waits for bytes of the stream, or its end. False if nobody reads stdout any more: a command that prints for
/// ever would otherwise notice only when it prints again.
pub(crate) fn wait(stream: BorrowedFd) -> io::Result<bool> {
    let stdout = io::stdout();
    loop {
        // Of a pipe without readers, poll reports an error unasked.
        let stdout = PollFd::new(&stdout, PollFlags::empty());
        let mut waited = [stdout, PollFd::new(&stream, PollFlags::IN)];
        match poll(&mut waited, None) {
            Ok(_) => return Ok(waited[0].revents().is_empty()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

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
    fn a_tint_paints_only_where_colours_are() {
        for tint in [Tint::Plain, Tint::Header, Tint::Good, Tint::Doubtful, Tint::Bad] {
            assert_eq!(tint.paint("up", false), "up");
        }
        assert_eq!(Tint::Plain.paint("up", true), "up");
        assert_eq!(Tint::Bad.paint("a\x1b[32mb", true), "\x1b[31ma?[32mb\x1b[0m");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let text = serde_json::to_string_pretty(&[HOSTILE]).unwrap();
        let escaped = json(&text);
        assert!(!escaped.contains(|letter: char| letter.is_control() && letter != '\n'));
        assert_eq!(serde_json::from_str::<[String; 1]>(&escaped).unwrap()[0], HOSTILE);
    }
}
