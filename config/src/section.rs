//! Reading a table of the tree key by key.
//!
//! The drafts that [`section!`](super::declare) makes ask a [`Section`] for each key that they declare.
//! [`Section::finish`] then reports every other key. Drafts need not care whether the section exists: a
//! missing one has no keys. If its absence was reported, nothing further is reported about its keys.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

use toml::de::{DeArray, DeTable, DeValue};

use super::findings::{Checked, Findings, Located, Reported, excerpt};
use super::kind::{Kind, describe};

/// A table that is being read.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) findings: &'a Findings,
    /// The dotted path of the section, empty for the whole file.
    path: String,
    /// The position at which the section begins.
    pub(crate) at: usize,
    table: Checked<Option<&'a DeTable<'a>>>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(crate) fn root(findings: &'a Findings, tree: &'a DeTable<'a>) -> Self {
        Section { findings, path: String::new(), at: 0, table: Ok(Some(tree)) }
    }

    /// Whether the file has the section.
    pub(crate) fn is_present(&self) -> bool {
        matches!(self.table, Ok(Some(_)))
    }

    /// The dotted path of a key of this section.
    pub(crate) fn key(&self, key: &str) -> String {
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let shown = match !key.is_empty() && key.bytes().all(bare) && key.len() < 64 {
            true => key.to_owned(),
            false => excerpt(key),
        };
        if self.path.is_empty() { shown } else { format!("{}.{shown}", self.path) }
    }

    /// Reports a mistake of a key of this section.
    pub(crate) fn mistake(&self, at: usize, key: &str, message: impl Into<String>) -> Reported {
        self.findings.mistake(at, self.key(key), message)
    }

    /// Reports a warning about a key of this section.
    pub(crate) fn warn(&self, at: usize, key: &str, message: impl Into<String>) {
        self.findings.warn(at, self.key(key), message);
    }

    fn value(&self, key: &str) -> Checked<Option<Located<&'a DeValue<'a>>>> {
        let Some(value) = self.table?.and_then(|table| table.get(key)) else { return Ok(None) };
        Ok(Some(Located { value: value.get_ref(), at: value.span().start }))
    }

    /// A key that may be left out.
    pub(crate) fn optional<K: Kind>(
        &self,
        key: &str,
        kind: &K,
    ) -> Checked<Option<Located<K::Value>>> {
        let Some(Located { value, at }) = self.value(key)? else { return Ok(None) };
        match kind.parse(value) {
            Ok(value) => Ok(Some(Located { value, at })),
            Err(message) => Err(self.mistake(at, key, message)),
        }
    }

    /// A key with a default. The position of a default is that of the section.
    pub(crate) fn or<K: Kind>(
        &self,
        key: &str,
        kind: &K,
        default: impl FnOnce() -> K::Value,
    ) -> Checked<Located<K::Value>> {
        let value = self.optional(key, kind)?;
        Ok(value.unwrap_or_else(|| Located { value: default(), at: self.at }))
    }

    /// A required key; the message shows `example` if it is missing.
    pub(crate) fn required<K: Kind>(
        &self,
        key: &str,
        example: &str,
        kind: &K,
    ) -> Checked<Located<K::Value>> {
        self.optional(key, kind)?.ok_or_else(|| self.missing(key, example))
    }

    /// Reports that a key is missing.
    pub(crate) fn missing(&self, key: &str, example: &str) -> Reported {
        self.mistake(self.at, key, format!("is missing; write for example {key} = {example}"))
    }

    /// An array of values of one kind; each wrong element is reported separately.
    pub(crate) fn list<K: Kind>(
        &self,
        key: &str,
        example: &str,
        kind: &K,
    ) -> Checked<Option<Vec<Located<K::Value>>>> {
        let Some((array, _)) = self.array(key, &format!("an array, for example {example}"))? else {
            return Ok(None);
        };
        let elements: Vec<Checked<Located<K::Value>>> = array
            .iter()
            .enumerate()
            .map(|(index, element)| {
                let at = element.span().start;
                let wrong = |message| self.mistake_in(key, index, at, message);
                kind.parse(element.get_ref()).map(|value| Located { value, at }).map_err(wrong)
            })
            .collect();
        elements.into_iter().collect::<Checked<_>>().map(Some)
    }

    /// An array that must be there.
    pub(crate) fn required_list<K: Kind>(
        &self,
        key: &str,
        example: &str,
        kind: &K,
    ) -> Checked<Vec<Located<K::Value>>> {
        self.list(key, example, kind)?.ok_or_else(|| self.missing(key, example))
    }

    /// Reports each element that the list has already.
    pub(crate) fn distinct<T: Eq + Hash + Display>(
        &self,
        key: &str,
        list: &Checked<Vec<Located<T>>>,
    ) {
        let mut seen = HashSet::new();
        for (index, Located { value, at }) in list.iter().flatten().enumerate() {
            if !seen.insert(value) {
                self.mistake_in(key, index, *at, format!("{value} is listed twice; keep one"));
            }
        }
    }

    /// Reports a mistake of one element of an array.
    pub(crate) fn mistake_in(
        &self,
        key: &str,
        index: usize,
        at: usize,
        message: impl Into<String>,
    ) -> Reported {
        self.findings.mistake(at, format!("{}[{index}]", self.key(key)), message)
    }

    /// Reports a value that another section has already, and remembers this one.
    pub(crate) fn unique<T: Clone + Eq + Hash + Display>(
        &self,
        key: &str,
        value: &Checked<Located<T>>,
        seen: &mut HashMap<T, usize>,
    ) {
        let Ok(Located { value, at }) = value else { return };
        match seen.entry(value.clone()) {
            Entry::Vacant(entry) => _ = entry.insert(*at),
            Entry::Occupied(entry) => {
                let text = excerpt(&value.to_string());
                let line = self.findings.line(*entry.get());
                let message = format!("is {text} as on line {line}; each must have its own");
                self.mistake(*at, key, message);
            }
        }
    }

    fn array(&self, key: &str, expected: &str) -> Checked<Option<(&'a DeArray<'a>, usize)>> {
        match self.value(key)? {
            None => Ok(None),
            Some(Located { value: DeValue::Array(array), at }) => Ok(Some((array, at))),
            Some(Located { value, at }) => {
                Err(self.mistake(at, key, format!("{}; expected {expected}", describe(value))))
            }
        }
    }

    /// The section `[key]` in this one.
    pub(crate) fn table(&self, key: &str, required: bool) -> Section<'a> {
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
        Section { findings, path, at, table }
    }

    /// The sections `[[key]]` in this one, with the position of their array; `None` if there is no
    /// such key.
    pub(crate) fn tables(&self, key: &str) -> Checked<Option<Located<Vec<Section<'a>>>>> {
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
            Section { findings: self.findings, path, at, table }
        };
        Ok(Some(Located { value: array.iter().enumerate().map(section).collect(), at }))
    }

    /// Reports every key that is not among the known ones.
    pub(crate) fn finish(&self, known: &[&[&'static str]]) {
        let Ok(Some(table)) = self.table else { return };
        for (key, _) in table.iter() {
            if known.iter().any(|names| names.contains(&key.get_ref().as_ref())) {
                continue;
            }
            let known = known.concat();
            let nearest = match self.findings.nearest(key.get_ref(), &known) {
                Some(nearest) => format!("unknown key; the nearest known one is {nearest:?}"),
                None => "unknown key".to_owned(),
            };
            let message = format!("{nearest} (known here: {})", known.join(", "));
            self.mistake(key.span().start, key.get_ref(), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Boolean;

    fn found(text: &str, read: impl Fn(&Section<'_>)) -> String {
        let tree = DeTable::parse(text).unwrap();
        let findings = Findings::new(text, &[]);
        read(&Section::root(&findings, tree.get_ref()));
        findings.finish().0.map(|mistakes| mistakes.to_string()).unwrap_or_default()
    }

    #[test]
    fn unknown_keys_name_the_nearest_known_one() {
        let text = "colour = true\n\"a b\" = 1\n[deep]\nweigth = 1\n";
        let found = found(text, |root| {
            root.table("deep", true).finish(&[&["name"], &["weight"]]);
            root.finish(&[&["color", "deep"]]);
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
            let section = root.table("hash", true);
            assert!(section.required("key", "\"00\"", &Boolean).is_err());
            assert!(section.or("table_size", &Boolean, || true).is_err());
            section.finish(&[]);
        });
        assert_eq!(found, "line 1: hash: the section [hash] is missing");
    }

    #[test]
    fn single_and_double_brackets_are_distinguished() {
        let found = found("[pool]\n[[node]]\n[[hash]]\n", |root| {
            assert!(root.tables("pool").is_err());
            root.table("node", true).finish(&[]);
            root.table("hash", false).finish(&[]);
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
            let section = root.table("s", true);
            assert!(section.list("x", "[true]", &Boolean).is_err());
            assert!(section.list("y", "[true]", &Boolean).is_err());
            assert!(section.tables("z").unwrap().is_none());
        });
        assert_eq!(
            found,
            "line 2: s.x[1]: is the integer 1; expected true or false\n\
             line 3: s.x[2]: is the string \"a\"; expected true or false, without quotes\n\
             line 4: s.y: is the integer 3; expected an array, for example [true]"
        );
    }
}
