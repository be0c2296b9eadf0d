//! A configuration of several files, as one text.
//!
//! `conf.d/*.toml` beside the main file belong to it. [`Source`](super::Source) joins them to one text, in
//! which a line `#: file NAME` begins each file; a text of one file has no such line. So whatever keeps,
//! shows or sends a configuration handles a text, and [`super::parse`] still knows the files.
//!
//! Arrays of tables are joined and tables merged, in the order of the files. Anything else that is set
//! twice is a mistake.

use super::findings::{Checked, Findings};
use super::syntax;
use super::tree::{Located, Table, Value};

/// The beginning of a line before each file. It is a comment of TOML.
pub(crate) const MARK: &str = "#: file ";

/// The files of a text: the name of each, empty without a mark, and where its text begins.
pub(crate) fn split(text: &str) -> Vec<(usize, &str)> {
    if !text.starts_with(MARK) {
        return vec![(0, "")];
    }
    let mut files = Vec::new();
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        begin += line.len();
        files.extend(line.strip_prefix(MARK).map(|name| (begin, name.trim_end())));
    }
    files
}

/// The tree of all files. Positions are those in the whole text.
pub(crate) fn tree<'t>(
    text: &'t str,
    files: &[(usize, &str)],
    findings: &Findings,
) -> Checked<Table<'t>> {
    let ends = files.iter().skip(1).map(|&(begin, _)| begin).chain([text.len()]);
    // The mark of the next file is a comment at the end of this one.
    let trees =
        files.iter().zip(ends).map(|(&(begin, _), end)| syntax::tree(text, begin..end, findings));
    let mut trees = trees.collect::<Vec<_>>().into_iter().collect::<Checked<Vec<_>>>()?.into_iter();
    let first = trees.next().unwrap_or_default();
    Ok(trees.fold(first, |merged, tree| merge(merged, tree, "", findings)))
}

fn merge<'t>(first: Table<'t>, second: Table<'t>, path: &str, findings: &Findings) -> Table<'t> {
    first.merge(second, |key, first, second| {
        let (at, again) = (first.at, second.at);
        let value = match (first.value, second.value) {
            (Value::Table(first), Value::Table(second)) => {
                Value::Table(merge(first, second, &format!("{path}{key}."), findings))
            }
            (Value::Array(mut first), Value::Array(second))
                if first.iter().chain(&second).all(|element| element.value.is_table()) =>
            {
                first.extend(second);
                Value::Array(first)
            }
            (value, _) => {
                let message = format!(
                    "is set in {:#} and again in {:#}; keep one of them",
                    findings.line(at),
                    findings.line(again)
                );
                findings.mistake(again, format!("{path}{key}"), message);
                value
            }
        };
        Located { at, value }
    })
}
