//! Reading a table of the tree key by key.
//!
//! A reader asks a [`Section`] for each key that it may have, with a parser of its value (see
//! [`super::value`]). [`Section::finish`] then reports every key that was not asked for. Readers need
//! not care whether the section exists: a missing one has no keys. If its absence was reported,
//! nothing further is reported about its keys.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Display;
use std::hash::Hash;

use toml::de::{DeArray, DeTable, DeValue};

use super::findings::{Checked, Findings, Located, Reported, excerpt};
use super::value::{Parse, describe};

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) findings: &'a Findings,
    /// The dotted path of the section, empty for the whole file.
    path: String,
    /// The position at which the section begins.
    pub(super) at: usize,
    table: Checked<Option<&'a DeTable<'a>>>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(findings: &'a Findings, tree: &'a DeTable<'a>) -> Self {
        Section { findings, path: String::new(), at: 0, table: Ok(Some(tree)), known: Vec::new() }
    }

    /// Whether the file has the section.
    pub(super) fn is_present(&self) -> bool {
        matches!(self.table, Ok(Some(_)))
    }

    /// The dotted path of a key of this section.
    pub(super) fn key(&self, key: &str) -> String {
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let shown = match !key.is_empty() && key.bytes().all(bare) && key.len() < 64 {
            true => key.to_owned(),
            false => excerpt(key),
        };
        if self.path.is_empty() { shown } else { format!("{}.{shown}", self.path) }
    }

    /// Reports a mistake of a key of this section.
    pub(super) fn mistake(&self, at: usize, key: &str, message: impl Into<String>) -> Reported {
        self.findings.mistake(at, self.key(key), message)
    }

    /// Reports a warning about a key of this section.
    pub(super) fn warn(&self, at: usize, key: &str, message: impl Into<String>) {
        self.findings.warn(at, self.key(key), message);
    }

    fn value(&mut self, key: &'static str) -> Checked<Option<Located<&'a DeValue<'a>>>> {
        self.known.push(key);
        let Some(value) = self.table?.and_then(|table| table.get(key)) else { return Ok(None) };
        Ok(Some(Located { value: value.get_ref(), at: value.span().start }))
    }

    /// A key that may be left out.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl Parse<T>,
    ) -> Checked<Option<Located<T>>> {
        let Some(Located { value, at }) = self.value(key)? else { return Ok(None) };
        match parse(value) {
            Ok(value) => Ok(Some(Located { value, at })),
            Err(message) => Err(self.mistake(at, key, message)),
        }
    }

    /// A key with a default. The position of a default is that of the section.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl Parse<T>,
    ) -> Checked<Located<T>> {
        let value = self.optional(key, parse)?;
        Ok(value.unwrap_or(Located { value: default, at: self.at }))
    }

    /// A required key; the message shows `example` if it is missing.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl Parse<T>,
    ) -> Checked<Located<T>> {
        match self.optional(key, parse)? {
            Some(value) => Ok(value),
            None => Err(self.missing(key, example)),
        }
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, key: &str, example: &str) -> Reported {
        self.mistake(self.at, key, format!("is missing; write for example {key} = {example}"))
    }

    /// An array of values of one kind; each wrong element is reported separately.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl Parse<T>,
    ) -> Checked<Option<Vec<Located<T>>>> {
        let Some((array, _)) = self.array(key, &format!("an array, for example {example}"))? else {
            return Ok(None);
        };
        let elements: Vec<Checked<Located<T>>> = array
            .iter()
            .enumerate()
            .map(|(index, element)| {
                let at = element.span().start;
                let wrong = |message| self.mistake_in(key, index, at, message);
                parse(element.get_ref()).map(|value| Located { value, at }).map_err(wrong)
            })
            .collect();
        elements.into_iter().collect::<Checked<_>>().map(Some)
    }

    /// Reports a mistake of one element of an array.
    pub(super) fn mistake_in(
        &self,
        key: &str,
        index: usize,
        at: usize,
        message: impl Into<String>,
    ) -> Reported {
        self.findings.mistake(at, format!("{}[{index}]", self.key(key)), message)
    }

    /// Reports a value that another section has already, and remembers this one.
    pub(super) fn unique<T: Clone + Eq + Hash + Display>(
        &self,
        key: &str,
        value: &Located<T>,
        seen: &mut HashMap<T, usize>,
    ) -> Checked<()> {
        match seen.entry(value.value.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(value.at);
                Ok(())
            }
            Entry::Occupied(entry) => {
                let text = excerpt(&value.value.to_string());
                let line = self.findings.line(*entry.get());
                let message = format!("is {text} as on line {line}; each must have its own");
                Err(self.mistake(value.at, key, message))
            }
        }
    }

    fn array(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Checked<Option<(&'a DeArray<'a>, usize)>> {
        match self.value(key)? {
            None => Ok(None),
            Some(Located { value: DeValue::Array(array), at }) => Ok(Some((array, at))),
            Some(Located { value, at }) => {
                Err(self.mistake(at, key, format!("{}; expected {expected}", describe(value))))
            }
        }
    }

    /// The section `[key]` in this one.
    pub(super) fn table(&mut self, key: &'static str, required: bool) -> Section<'a> {
        let (findings, path, here) = (self.findings, self.key(key), self.at);
        let (at, table) = match self.value(key) {
            Ok(Some(Located { value: DeValue::Table(table), at })) => (at, Ok(Some(table))),
            Ok(Some(Located { value, at })) => {
                let message = match value {
                    DeValue::Array(_) => format!(
                        "is an array; there is one such section, written [{path}] in single \
                         brackets"
                    ),
                    value => format!("{}; expected the section [{path}]", describe(value)),
                };
                (at, Err(self.mistake(at, key, message)))
            }
            Ok(None) if required => {
                let message = format!("the section [{path}] is missing");
                (here, Err(self.mistake(here, key, message)))
            }
            Ok(None) => (here, Ok(None)),
            Err(reported) => (here, Err(reported)),
        };
        Section { findings, path, at, table, known: Vec::new() }
    }

    /// The sections `[[key]]` in this one, with the position of their array; `None` if there is no
    /// such key.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
    ) -> Checked<Option<Located<Vec<Section<'a>>>>> {
        let path = self.key(key);
        let inline = !self.path.is_empty();
        let expected = match inline {
            true => "an array of tables, for example [{ name = \"b1\" }]".to_owned(),
            false => format!("sections [[{path}]], in double brackets"),
        };
        let Some((array, at)) = self.array(key, &expected)? else { return Ok(None) };
        let section = |(index, element): (usize, &'a toml::Spanned<DeValue<'a>>)| {
            let (path, at) = (format!("{path}[{index}]"), element.span().start);
            let table = match element.get_ref() {
                DeValue::Table(table) => Ok(Some(table)),
                value => {
                    let message = format!("{}; expected a table, {{ ... }}", describe(value));
                    Err(self.findings.mistake(at, path.clone(), message))
                }
            };
            Section { findings: self.findings, path, at, table, known: Vec::new() }
        };
        Ok(Some(Located { value: array.iter().enumerate().map(section).collect(), at }))
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        let Ok(Some(table)) = self.table else { return };
        for (key, _) in table.iter() {
            if self.known.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let nearest = match self.findings.nearest(key.get_ref(), &self.known) {
                Some(nearest) => format!("unknown key; the nearest known one is {nearest:?}"),
                None => "unknown key".to_owned(),
            };
            let message = format!("{nearest} (known here: {})", self.known.join(", "));
            self.mistake(key.span().start, key.get_ref(), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value;

    fn found(text: &str, read: impl Fn(&mut Section<'_>)) -> String {
        let tree = DeTable::parse(text).unwrap();
        let findings = Findings::new(text);
        let mut root = Section::root(&findings, tree.get_ref());
        read(&mut root);
        root.finish();
        findings.finish().0.map(|mistakes| mistakes.to_string()).unwrap_or_default()
    }

    #[test]
    fn unknown_keys_name_the_nearest_known_one() {
        let text = "colour = true\n\"a b\" = 1\n[deep]\nweigth = 1\n";
        let found = found(text, |root| {
            root.optional("color", value::boolean).unwrap();
            let mut deep = root.table("deep", true);
            deep.optional("name", value::boolean).unwrap();
            deep.optional("weight", value::boolean).unwrap();
            deep.finish();
        });
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(
            lines[0],
            "line 1: colour: unknown key; the nearest known one is \"color\" (known here: color, \
             deep)"
        );
        assert!(lines[1].starts_with("line 2: \"a b\": unknown key"), "{found}");
        assert!(
            lines[2].starts_with(
                "line 4: deep.weigth: unknown key; the nearest known one is \"weight\""
            )
        );
    }

    #[test]
    fn a_missing_section_is_reported_once() {
        let found = found("", |root| {
            let mut section = root.table("hash", true);
            assert!(section.required("key", "\"00\"", value::boolean).is_err());
            assert!(section.or("table_size", true, value::boolean).is_err());
            section.finish();
        });
        assert_eq!(found, "line 1: hash: the section [hash] is missing");
    }

    #[test]
    fn single_and_double_brackets_are_distinguished() {
        let found = found("[pool]\n[[node]]\n[[hash]]\n", |root| {
            assert!(root.tables("pool").is_err());
            root.table("node", true).finish();
            root.table("hash", false).finish();
        });
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(
            lines[0],
            "line 1: pool: is a table; expected sections [[pool]], in double brackets"
        );
        assert!(lines[1].contains("written [node] in single brackets"), "{found}");
        assert!(lines[2].starts_with("line 3: hash"), "{found}");
    }

    #[test]
    fn each_element_of_a_list_is_judged() {
        let found = found("[s]\nx = [true, 1,\n 'a', false]\ny = 3\n", |root| {
            let mut section = root.table("s", true);
            assert!(section.list("x", "[true]", value::boolean).is_err());
            assert!(section.list("y", "[true]", value::boolean).is_err());
            assert!(section.tables("z").unwrap().is_none());
            section.finish();
        });
        assert_eq!(
            found,
            "line 2: s.x[1]: is the integer 1; expected true or false\n\
             line 3: s.x[2]: is the string \"a\"; expected true or false, without quotes\n\
             line 4: s.y: is the integer 3; expected an array, for example [true]"
        );
    }
}
