//! The terminal: what it can show, colours, and text that is safe on it.
//!
//! Names and messages may contain control characters, which would move the cursor, change the window's title,
//! or hide the text after them. So text loses its control characters before it gets colours.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;

/// What stdout can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Control characters act on it.
    pub(crate) is_terminal: bool,
    /// It can be cleared.
    pub(crate) has_cursor: bool,
    /// It has colours, and the user wants them.
    pub(crate) has_colour: bool,
}

impl Screen {
    /// Asks stdout and the environment: `TERM`, and `NO_COLOR` (<https://no-color.org>).
    pub(crate) fn of_stdout() -> Screen {
        let is_terminal = io::stdout().is_terminal();
        let has_cursor = is_terminal && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen { is_terminal, has_cursor, has_colour: has_cursor && !is_plain }
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

/// Why [`wait`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The stream has bytes, or its end.
    Readable,
    /// Nobody reads stdout any more.
    NoReader,
    /// The time is over.
    Time,
}

/// Waits for bytes of the stream, if there is one, or until the time is over, if it ends. Ends too when nobody
/// reads stdout any more: a command that prints for ever would otherwise notice only when it prints again.
pub(crate) fn wait(stream: Option<BorrowedFd>, time: Option<Duration>) -> io::Result<Wake> {
    let end = time.map(|time| Instant::now() + time);
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let stdout = io::stdout();
        // Of a pipe without readers, poll reports an error unasked.
        let mut waited = vec![PollFd::new(&stdout, PollFlags::empty())];
        waited.extend(stream.as_ref().map(|stream| PollFd::new(stream, PollFlags::IN)));
        match poll(&mut waited, timeout.as_ref()) {
            Ok(0) => return Ok(Wake::Time),
            Ok(_) if !waited[0].revents().is_empty() => return Ok(Wake::NoReader),
            Ok(_) => return Ok(Wake::Readable),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A picture for a terminal whose last picture it replaces: as many of its lines as the terminal has rows for.
pub(crate) fn picture(text: &str) -> String {
    let size = tcgetwinsize(io::stdout()).ok().map(|size| (size.ws_row, size.ws_col));
    let text = match size {
        // A terminal that does not know its size has 0.
        Some((rows @ 1.., columns @ 1..)) => cut(text, rows.into(), columns.into()),
        _ => text.to_owned(),
    };
    // To the upper left, and erase what follows.
    format!("\x1b[H\x1b[J{text}")
}

/// The first lines of a text that fit, and in place of the others a line that counts them. The cursor ends in a
/// row of its own.
fn cut(text: &str, rows: usize, columns: usize) -> String {
    let height = |line: &str| width(line).div_ceil(columns).max(1);
    let lines: Vec<&str> = text.lines().collect();
    if lines.iter().map(|line| height(line)).sum::<usize>() < rows {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 2;
    for (index, line) in lines.iter().enumerate() {
        used += height(line);
        if used > rows {
            let left = lines.len() - index;
            kept += &format!("({left} more {})\n", if left == 1 { "line" } else { "lines" });
            break;
        }
        kept += &format!("{line}\n");
    }
    kept
}

/// The columns that a line with colours takes.
fn width(line: &str) -> usize {
    let mut is_escape = false;
    let takes_column = |letter: &char| match (is_escape, letter) {
        (false, '\x1b') => {
            is_escape = true;
            false
        }
        (false, _) => true,
        (true, letter) => {
            is_escape = *letter != 'm';
            false
        }
    };
    line.chars().filter(takes_column).count()
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
    fn a_picture_is_cut_to_the_terminal() {
        let text = "\x1b[1mNAME\x1b[0m\nb1\nb2\nb3\n";
        assert_eq!(cut(text, 5, 80), text, "the cursor has the fifth row");
        assert_eq!(cut(text, 4, 80), "\x1b[1mNAME\x1b[0m\nb1\n(2 more lines)\n");
        assert_eq!(cut(text, 5, 4), text, "colours take no columns");
        assert_eq!(
            cut(text, 5, 3),
            "\x1b[1mNAME\x1b[0m\nb1\n(2 more lines)\n",
            "NAME takes two rows"
        );
        assert_eq!(cut(text, 1, 80), "(4 more lines)\n");
        assert_eq!(cut("a\n", 1, 80), "(1 more line)\n");
        assert_eq!(cut("", 1, 80), "");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let text = serde_json::to_string_pretty(&[HOSTILE]).unwrap();
        let escaped = json(&text);
        assert!(!escaped.contains(|letter: char| letter.is_control() && letter != '\n'));
        assert_eq!(serde_json::from_str::<[String; 1]>(&escaped).unwrap()[0], HOSTILE);
    }
}
