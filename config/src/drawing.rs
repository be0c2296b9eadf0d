//! Mistakes as a terminal shows them: the line, a caret, and what would be right.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::findings::Mistake;

/// Bytes of the longest line that is drawn.
const LONGEST: usize = 1000;

/// Draws a mistake or a warning of a text. `path` is the main file's.
///
/// A line that may contain a secret is not shown; nor is one that is too long for a terminal.
pub fn draw(mistake: &Mistake, text: &str, path: &Path, is_warning: bool, colour: bool) -> String {
    let level = if is_warning { Level::WARNING } else { Level::ERROR };
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let file = mistake.path(path).display().to_string();
    let begin =
        text.get(..mistake.at).map_or(0, |before| before.rfind('\n').map_or(0, |at| at + 1));
    let line = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let title = |message: &str| match mistake.key.as_str() {
        "" => message.to_owned(),
        key => format!("{key}: {message}"),
    };
    if line.len() > LONGEST || may_be_secret(line) {
        let message = format!("{} (line {})", title(&mistake.message), mistake.line);
        return renderer.render(&[Group::with_title(level.primary_title(message))]) + "\n";
    }
    let (message, note) = match mistake.message.split_once(" (known here: ") {
        Some((message, known)) => {
            (message, Some(format!("known here: {}", known.trim_end_matches(')'))))
        }
        None => (mistake.message.as_str(), None),
    };
    let (message, label) = message.split_once("; ").unwrap_or((message, ""));
    let at = mistake.at - begin;
    let annotation = AnnotationKind::Primary.span(at..at + token(&line[at..])).label(label);
    let snippet = Snippet::source(line).line_start(mistake.line).path(file).annotation(annotation);
    let mut report = level.primary_title(title(message)).element(snippet);
    if let Some(note) = note {
        report = report.element(Level::NOTE.message(note));
    }
    renderer.render(&[report]) + "\n"
}

/// Whether a line has as many hexadecimal digits together as only keys have.
fn may_be_secret(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_hexdigit()).any(|digits| digits.len() >= 16)
}

/// The length of the value or key at the beginning of a text.
fn token(text: &str) -> usize {
    let mut letters = text.char_indices();
    let end = match letters.next() {
        Some((_, quote @ ('"' | '\''))) => {
            letters.find(|&(_, letter)| letter == quote).map(|(at, _)| at + 1)
        }
        Some((_, '[')) => {
            text.find(']').map(|at| at + 1 + usize::from(text[at..].starts_with("]]")))
        }
        Some((_, '{')) => text.find('}').map(|at| at + 1),
        _ => text.find([' ', ',', '=', ']', '}', '#', '\t', '\r']),
    };
    end.unwrap_or(text.trim_end().len()).max(usize::from(!text.is_empty()))
}
