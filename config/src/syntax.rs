//! From text to a tree that knows its positions, and the mistakes of TOML itself.
//!
//! The parser recovers from an error and goes on. An error within one value or key leaves the rest
//! of the text worth checking. An error of the structure (an unclosed bracket, a missing comma)
//! makes everything after it noise. Errors are therefore reported up to the first error of the
//! structure, and the tree is used only if there is no such error.
//!
//! For a long text only the first error is reported: the parser keeps every error, which takes a
//! hundred times the memory of the text.
//!
//! This is about the `toml` crate's parser. It is asked only if `plain.rs` cannot read the text.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use super::findings::{Checked, Findings};
use super::plain;
use super::tree::Table;

/// The parser's messages for errors within one value or key, and a hint for each. If a new version of
/// the parser changes a message, the error counts as structural: fewer errors are reported at once.
const LOCAL: [(&str, &str); 7] = [
    ("duplicate key", "this key is set for the second time; keep one of them"),
    ("string values must be quoted", ""),
    ("invalid boolean", "true and false are written without quotes and in full"),
    ("unexpected leading zero", "a number does not begin with 0"),
    ("`_` may only go between digits", ""),
    ("integers with a radix cannot be signed", ""),
    ("missing escaped value", "write \\\\ for a backslash"),
];

/// Hints at errors of the structure.
const STRUCTURAL: [(&str, &str); 5] = [
    ("unclosed table", "a section is written [name], and each of several [[name]]"),
    ("unclosed array", "an array ends with ]"),
    ("missing comma", "an element before it, or its array or table, is not ended"),
    ("invalid basic string", "a string ends with \" on the line on which it begins"),
    ("key with no value", "a line is written key = value"),
];

/// Bytes of the longest text of which more than the first error is reported.
const RECOVERED: usize = 256 << 10;

/// The tree of a part of a text, if the part has no error of the structure. Positions in the tree are
/// those in the whole text.
pub(super) fn tree<'t>(
    whole: &'t str,
    part: Range<usize>,
    findings: &Findings,
) -> Checked<Table<'t>> {
    let (begin, text) = (part.start, &whole[part]);
    match plain::tree(text, begin) {
        Some(tree) => Ok(tree),
        None => by_crate(text, begin, whole.len(), findings).map(|it| Table::of_crate(it, begin)),
    }
}

/// The tree of a text that begins at `begin` of a whole text of this length. Positions in the tree are those in the
/// text.
fn by_crate<'t>(
    text: &'t str,
    begin: usize,
    whole: usize,
    findings: &Findings,
) -> Checked<DeTable<'t>> {
    if whole > RECOVERED {
        return DeTable::parse(text).map(Spanned::into_inner).map_err(|error| {
            let (at, message, _) = explain(text, &error);
            findings.mistake(
                begin + at,
                "",
                message + "; only the first mistake of so long a text is reported",
            )
        });
    }
    let (tree, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| start(text, error));
    let mut last_line = None;
    for error in &errors {
        let (at, message, is_local) = explain(text, error);
        // The parser may report one typing error within a value twice.
        let line = Some(findings.line(begin + at));
        if is_local && line == last_line {
            continue;
        }
        last_line = line;
        let reported = findings.mistake(begin + at, "", message);
        if !is_local {
            return Err(reported);
        }
    }
    Ok(tree.into_inner())
}

/// The position of an error, its message, and whether it lies within one value or key.
fn explain(text: &str, error: &toml::de::Error) -> (usize, String, bool) {
    let words = error.message();
    let hint = |hints: &[(&str, &'static str)]| {
        hints.iter().find(|(start, _)| words.starts_with(start)).map(|&(_, hint)| hint)
    };
    let local = hint(&LOCAL);
    let message = match local.or_else(|| hint(&STRUCTURAL)) {
        None | Some("") => format!("not valid TOML: {words}"),
        Some(hint) => format!("not valid TOML: {words}; {hint}"),
    };
    let at = match start(text, error) {
        0 if words.starts_with("recursion limit") => deepest(text),
        at => at,
    };
    (at, message, local.is_some())
}

fn start(text: &str, error: &toml::de::Error) -> usize {
    error.span().map_or(0, |span| span.start.min(text.len()))
}

/// The start of the line that nests deepest: the parser does not report where it gave up.
fn deepest(text: &str) -> usize {
    let (mut begin, mut found, mut most) = (0, 0, 0);
    for line in text.split_inclusive('\n') {
        let depth = line.matches(['.', '[', '{']).count();
        if depth > most {
            (found, most) = (begin, depth);
        }
        begin += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> (bool, Vec<(usize, String)>) {
        let findings = Findings::new(text, &[]);
        let usable = tree(text, 0..text.len(), &findings).is_ok();
        let (mistakes, _) = findings.finish();
        let mistakes = mistakes.unwrap_or_default();
        (usable, mistakes.iter().map(|m| (m.line, m.message.clone())).collect())
    }

    #[test]
    fn an_error_of_the_structure_hides_what_follows() {
        let (usable, found) = mistakes("a = 1\nb = [1,\n2\n[c]\nd = 1\n");
        assert!(!usable);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 4);
        assert!(found[0].1.contains("missing comma"), "{found:?}");
        assert!(found[0].1.contains("is not ended"), "{found:?}");
    }

    #[test]
    fn errors_within_values_are_reported_together() {
        let (usable, found) = mistakes("a = lb1\nb = tru\nc = 08\nc = 1\n[t]\n[t]\n");
        assert!(usable);
        let lines: Vec<usize> = found.iter().map(|f| f.0).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6]);
        assert!(found[0].1.contains("must be quoted"), "{found:?}");
        assert!(found[3].1.contains("second time"), "{found:?}");
    }

    #[test]
    fn of_a_long_text_only_the_first_error_is_reported() {
        let line = "a = =\n";
        let many = line.repeat(RECOVERED / line.len() + 1);
        for (text, line) in [(many.clone(), 1), (format!("b = 1\n{many}"), 2)] {
            let (usable, found) = mistakes(&text);
            assert!(!usable);
            assert_eq!((found.len(), found[0].0), (1, line));
            assert!(found[0].1.ends_with("only the first mistake of so long a text is reported"));
        }
        let comment = "# a long text without an error\n".repeat(RECOVERED / 20);
        assert_eq!(mistakes(&comment), (true, Vec::new()));
    }

    #[test]
    fn a_deep_nest_is_an_error_and_no_overflow() {
        for text in ["a.".repeat(100_000) + "a = 1", format!("a = {}", "[".repeat(100_000))] {
            let (usable, found) = mistakes(&text);
            assert!(!usable);
            assert_eq!(found.len(), 1);
            let (_, found) = mistakes(&format!("# a comment.\nb = 1.5\n{text}\nc = 1\n"));
            assert_eq!(found[0].0, 3, "{found:?}");
        }
    }
}
