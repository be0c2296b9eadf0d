//! A configuration of several files, as one text.
//!
//! `conf.d/*.toml` beside the main file belong to it. [`Source`](super::Source) joins them to one text, in
//! which a line `#: file NAME` begins each file; a text of one file has no such line. So whatever keeps,
//! shows or sends a configuration handles a text, and [`super::parse`] still knows the files.
//!
//! Arrays of tables are joined and tables merged, in the order of the files. Anything else that is set
//! twice is a mistake.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::findings::{Checked, Findings};
use super::syntax;

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
) -> Checked<DeTable<'t>> {
    let ends = files.iter().skip(1).map(|&(begin, _)| begin).chain([text.len()]);
    let trees: Vec<_> = files
        .iter()
        .zip(ends)
        .map(|(&(begin, _), end)| {
            // The mark of the next file is a comment at the end of this one.
            syntax::tree(text, begin..end, findings).map(|tree| shifted_table(tree, begin))
        })
        .collect();
    let mut trees = trees.into_iter().collect::<Checked<Vec<_>>>()?.into_iter();
    let mut merged = trees.next().unwrap_or_default();
    trees.for_each(|tree| merge(&mut merged, tree, "", findings));
    Ok(merged)
}

fn merge<'t>(into: &mut DeTable<'t>, from: DeTable<'t>, path: &str, findings: &Findings) {
    for (key, value) in from {
        let Some(first) = into.get_mut(key.get_ref().as_ref()) else {
            into.insert(key, value);
            continue;
        };
        let places = (first.span().start, value.span().start);
        match (first.get_mut(), value.into_inner()) {
            (DeValue::Table(first), DeValue::Table(second)) => {
                merge(first, second, &format!("{path}{}.", key.get_ref()), findings);
            }
            (DeValue::Array(first), DeValue::Array(second))
                if first.iter().chain(&second).all(|element| element.get_ref().is_table()) =>
            {
                second.into_iter().for_each(|element| first.push(element));
            }
            _ => {
                let message = format!(
                    "is set in {:#} and again in {:#}; keep one of them",
                    findings.line(places.0),
                    findings.line(places.1)
                );
                findings.mistake(places.1, format!("{path}{}", key.get_ref()), message);
            }
        }
    }
}

/// The tree with all positions moved by `begin`.
fn shifted_table(table: DeTable<'_>, begin: usize) -> DeTable<'_> {
    if begin == 0 {
        return table;
    }
    let entries = table.into_iter();
    entries.map(|(key, value)| (moved(key, begin, |key| key), shifted(value, begin))).collect()
}

fn shifted(value: Spanned<DeValue<'_>>, begin: usize) -> Spanned<DeValue<'_>> {
    moved(value, begin, |value| match value {
        DeValue::Table(table) => DeValue::Table(shifted_table(table, begin)),
        DeValue::Array(array) => {
            DeValue::Array(array.into_iter().map(|element| shifted(element, begin)).collect())
        }
        value => value,
    })
}

fn moved<T, U>(spanned: Spanned<T>, begin: usize, change: impl FnOnce(T) -> U) -> Spanned<U> {
    let span = spanned.span();
    Spanned::new(span.start + begin..span.end + begin, change(spanned.into_inner()))
}
