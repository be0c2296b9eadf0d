//! From text to a tree that knows its positions, and the mistakes of TOML itself.
//!
//! The parser recovers from an error and goes on. Where the error lies within one value or key,
//! what follows is still read as it was meant and is worth checking; where it lies in the structure
//! (a bracket that is not closed, a comma that is missing), all that follows is noise. So: errors
//! are told up to the first of the structure, and the tree is given on only if there is none.

use toml::de::DeTable;

use super::report::{Read, Report};

/// The parser's words for errors that end with the value or key that has them. A parser that words
/// them otherwise makes them structural: less is told at once, nothing wrong.
const LOCAL: [(&str, &str); 7] = [
    ("duplicate key", "this key stands here for the second time; keep one of them"),
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

/// The tree of a text, if its structure can be relied upon.
pub(super) fn tree<'t>(text: &'t str, report: &Report) -> Read<DeTable<'t>> {
    let (tree, mut errors) = DeTable::parse_recoverable(text);
    let at = |error: &toml::de::Error| error.span().map_or(0, |span| span.start.min(text.len()));
    errors.sort_by_key(at);
    let mut last_line = 0;
    for error in &errors {
        let (mut at, words) = (at(error), error.message());
        if words.starts_with("recursion limit") && error.span().is_none_or(|span| span.start == 0) {
            at = deepest(text);
        }
        let hint = |hints: &[(&str, &'static str)]| {
            hints.iter().find(|(start, _)| words.starts_with(start)).map(|&(_, hint)| hint)
        };
        let local = hint(&LOCAL);
        // One slip within a value may be told twice.
        if local.is_some() && report.line(at) == last_line {
            continue;
        }
        last_line = report.line(at);
        let message = match local.or_else(|| hint(&STRUCTURAL)) {
            None | Some("") => format!("not valid TOML: {words}"),
            Some(hint) => format!("not valid TOML: {words}; {hint}"),
        };
        let reported = report.mistake(at, "", message);
        if local.is_none() {
            return Err(reported);
        }
    }
    Ok(tree.into_inner())
}

/// Where the line begins that nests deepest: the parser does not tell where it gave up.
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
        let report = Report::new(text);
        let usable = tree(text, &report).is_ok();
        let (mistakes, _) = report.finish();
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
    fn errors_within_values_are_told_together() {
        let (usable, found) = mistakes("a = lb1\nb = tru\nc = 08\nc = 1\n[t]\n[t]\n");
        assert!(usable);
        let lines: Vec<usize> = found.iter().map(|f| f.0).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6]);
        assert!(found[0].1.contains("must be quoted"), "{found:?}");
        assert!(found[3].1.contains("second time"), "{found:?}");
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
