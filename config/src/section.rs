//! Reading a table of the tree key by key.
//!
//! The drafts that [`section!`](super::declare) makes ask a [`Section`] for each key that they declare.
//! [`Section::finish`] then reports every other key. Drafts need not care whether the section exists: a
//! missing one has no keys. If its absence was reported, nothing further is reported about its keys.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};
use std::hash::Hash;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::findings::{Checked, Findings, Place, Reported, excerpt};
use super::kind::{Kind, describe};
use super::tree::{Located, Table, Value};

/// A table that is being read.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) findings: &'a Findings,
    path: Path,
    /// The position at which the section begins.
    at: usize,
    table: Checked<Option<&'a Table<'a>>>,
}

/// The dotted path of a section. Sections of an array share its path: there may be tens of thousands, and few are named in
/// a mistake.
#[derive(Clone, Debug)]
struct Path {
    /// That of the section, or of the array that has it. Empty for the whole file.
    of: Rc<str>,
    /// The section's index in the array.
    index: Option<usize>,
}

impl Path {
    fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of)?;
        self.index.map_or(Ok(()), |index| write!(f, "[{index}]"))
    }
}

/// The values that the sections of an array have for a key, each with the index of the first that has it.
#[derive(Debug)]
pub(crate) struct Seen<'v, T> {
    array: &'static str,
    key: &'static str,
    first: FxHashMap<&'v T, usize>,
}

impl<T> Seen<'_, T> {
    pub(crate) fn new(array: &'static str, key: &'static str) -> Self {
        Seen { array, key, first: FxHashMap::default() }
    }
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(crate) fn root(findings: &'a Findings, tree: &'a Table<'a>) -> Self {
        let path = Path { of: Rc::default(), index: None };
        Section { findings, path, at: 0, table: Ok(Some(tree)) }
    }

    /// Whether the file has the section.
    pub(crate) fn is_present(&self) -> bool {
        matches!(self.table, Ok(Some(_)))
    }

    /// The position of a value of this section, `down[1]`; of what is left out, that of the nearest
    /// section or array around it.
    pub(crate) fn position(&self, path: &str) -> usize {
        self.walk(path).last().map_or(self.at, |value| value.at)
    }

    /// Whether the file has a value of this section, `down[1]`.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.walk(path).count() == steps(path).count()
    }

    /// The values on the way to a value of this section, as far as the file has them.
    fn walk<'p>(
        &self,
        path: &'p str,
    ) -> impl Iterator<Item = &'a Located<Value<'a>>> + use<'a, 'p> {
        let mut steps = steps(path);
        let table = self.table.ok().flatten();
        let first = table.and_then(|table| table.get(steps.next()?));
        std::iter::successors(first, move |found| match &found.value {
            Value::Table(table) => table.get(steps.next()?),
            Value::Array(array) => array.get(steps.next()?.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Whether the file may have any of these keys of this section: not if it has the section without them, or no section.
    pub(crate) fn may_have(&self, keys: &[&str]) -> bool {
        match self.table {
            Ok(Some(table)) => table.iter().any(|entry| keys.iter().any(|key| entry.has(key))),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// The line of a value of this section.
    pub(crate) fn line(&self, path: &str) -> Place<'a> {
        self.findings.line(self.position(path))
    }

    /// The dotted path, in the whole file, of a value of this section.
    pub(crate) fn path(&self, path: &str) -> String {
        if self.path.is_empty() { path.to_owned() } else { format!("{}.{path}", self.path) }
    }

    /// Reports a mistake in a value of this section.
    pub(crate) fn mistake(&self, path: &str, message: impl Into<String>) -> Reported {
        self.mistake_at(path, path, message)
    }

    /// Reports a mistake in a value of this section, at the position of another.
    pub(crate) fn mistake_at(&self, at: &str, path: &str, message: impl Into<String>) -> Reported {
        self.findings.mistake(self.position(at), self.path(path), message)
    }

    /// Reports a warning about a value of this section.
    pub(crate) fn warn(&self, path: &str, message: impl Into<String>) {
        self.warn_at(path, path, message);
    }

    /// Reports a warning about a value of this section, at the position of another.
    pub(crate) fn warn_at(&self, at: &str, path: &str, message: impl Into<String>) {
        self.findings.warn(self.position(at), self.path(path), message);
    }

    fn value(&self, key: &str) -> Checked<Option<&'a Value<'a>>> {
        Ok(self.table?.and_then(|table| table.get(key)).map(|found| &found.value))
    }

    /// A key that may be left out.
    pub(crate) fn optional<K: Kind>(&self, key: &str, kind: &K) -> Checked<Option<K::Value>> {
        let value = self.value(key)?.map(|value| kind.parse(value)).transpose();
        value.map_err(|message| self.mistake(key, message))
    }

    /// What was found of a key that must be there; the message shows `example` if it is missing.
    pub(crate) fn required<T>(
        &self,
        key: &str,
        example: &str,
        found: Checked<Option<T>>,
    ) -> Checked<T> {
        found?.ok_or_else(|| {
            self.mistake(key, format!("is missing; write for example {key} = {example}"))
        })
    }

    /// An array of values of one kind; each wrong element is reported separately.
    pub(crate) fn list<K: Kind>(
        &self,
        key: &str,
        example: &str,
        kind: &K,
    ) -> Checked<Option<Vec<K::Value>>> {
        let Some(array) = self.array(key, &format!("an array, for example {example}"))? else {
            return Ok(None);
        };
        let element = |(index, element): (usize, &Located<Value<'_>>)| {
            let wrong = |message| self.mistake(&format!("{key}[{index}]"), message);
            kind.parse(&element.value).map_err(wrong)
        };
        let elements: Vec<Checked<K::Value>> = array.iter().enumerate().map(element).collect();
        elements.into_iter().collect::<Checked<_>>().map(Some)
    }

    /// Reports each element that the list has already.
    pub(crate) fn distinct<T: Eq + Hash + Display>(&self, key: &str, list: &Checked<Vec<T>>) {
        let mut seen = HashSet::new();
        for (index, value) in list.iter().flatten().enumerate() {
            if !seen.insert(value) {
                let message = format!("{value} is listed twice; keep one");
                self.mistake(&format!("{key}[{index}]"), message);
            }
        }
    }

    /// Reports a value of the section with this index in an array of this one, if one of the array has it already.
    pub(crate) fn unique_in<'v, T: Eq + Hash + Display>(
        &self,
        seen: &mut Seen<'v, T>,
        index: usize,
        value: &'v Checked<T>,
    ) {
        let Ok(value) = value else { return };
        let path = |index| format!("{}[{index}].{}", seen.array, seen.key);
        match seen.first.entry(value) {
            Entry::Vacant(entry) => _ = entry.insert(index),
            Entry::Occupied(entry) => {
                self.same(&path(index), value, self.line(&path(*entry.get())));
            }
        }
    }

    /// Reports a value that is the one on another line.
    fn same(&self, key: &str, value: &impl Display, line: Place<'_>) {
        let text = excerpt(&value.to_string());
        self.mistake(key, format!("is {text} as on line {line}; each must have its own"));
    }

    /// Reports a value that another section has already, and remembers this one.
    pub(crate) fn unique<T: Clone + Eq + Hash + Display>(
        &self,
        key: &str,
        value: &Checked<T>,
        seen: &mut HashMap<T, Place<'a>>,
    ) {
        let Ok(value) = value else { return };
        match seen.entry(value.clone()) {
            Entry::Vacant(entry) => _ = entry.insert(self.line(key)),
            Entry::Occupied(entry) => self.same(key, value, *entry.get()),
        }
    }

    fn array(&self, key: &str, expected: &str) -> Checked<Option<&'a [Located<Value<'a>>]>> {
        match self.value(key)? {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array)),
            Some(value) => {
                Err(self.mistake(key, format!("{}; expected {expected}", describe(value))))
            }
        }
    }

    /// The section `[key]` in this one.
    pub(crate) fn table(&self, key: &str, required: bool) -> Section<'a> {
        let path = self.path(key);
        let table = self.value(key).and_then(|value| match value {
            Some(Value::Table(table)) => Ok(Some(table)),
            Some(Value::Array(_)) => {
                let message = format!(
                    "is an array; there is one such section, written [{path}] in single brackets"
                );
                Err(self.mistake(key, message))
            }
            Some(value) => {
                let message = format!("{}; expected the section [{path}]", describe(value));
                Err(self.mistake(key, message))
            }
            None if required => Err(self.mistake(key, format!("the section [{path}] is missing"))),
            None => Ok(None),
        });
        let path = Path { of: path.into(), index: None };
        Section { findings: self.findings, path, at: self.position(key), table }
    }

    /// The sections `[[key]]` in this one; `None` if there is no such key.
    pub(crate) fn tables(&self, key: &str) -> Checked<Option<Vec<Section<'a>>>> {
        let path = self.path(key);
        let inline = !self.path.is_empty();
        let expected = match inline {
            true => "an array of tables, for example [{ name = \"b1\" }]".to_owned(),
            false => format!("sections [[{path}]], in double brackets"),
        };
        let Some(array) = self.array(key, &expected)? else { return Ok(None) };
        let path: Rc<str> = path.into();
        let section = |(index, element): (usize, &'a Located<Value<'a>>)| {
            let (path, at) = (Path { of: Rc::clone(&path), index: Some(index) }, element.at);
            let table = match &element.value {
                Value::Table(table) => Ok(Some(table)),
                value => {
                    let message = format!("{}; expected a table, {{ ... }}", describe(value));
                    Err(self.findings.mistake(at, path.to_string(), message))
                }
            };
            Section { findings: self.findings, path, at, table }
        };
        Ok(Some(array.iter().enumerate().map(section).collect()))
    }

    /// Reports every key that is not among the known ones.
    pub(crate) fn finish(&self, known: &[&[&'static str]]) {
        let Ok(Some(table)) = self.table else { return };
        for key in table.iter().map(|entry| &entry.key) {
            if known.iter().any(|names| names.contains(&&*key.value)) {
                continue;
            }
            let known = known.concat();
            let nearest = match self.findings.nearest(&key.value, &known) {
                Some(nearest) => format!("unknown key; the nearest known one is {nearest:?}"),
                None => "unknown key".to_owned(),
            };
            let message = format!("{nearest} (known here: {})", known.join(", "));
            self.findings.mistake(key.at, self.path(&quoted(&key.value)), message);
        }
    }
}

/// The keys and indices of a dotted path.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[', ']']).filter(|step| !step.is_empty())
}

/// A key as a path has it: quoted if TOML asks for quotes, and shortened.
fn quoted(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_bare = !key.is_empty() && key.bytes().all(bare) && key.len() < 64;
    if is_bare { key.to_owned() } else { excerpt(key) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Boolean;
    use crate::syntax;

    fn found(text: &str, read: impl Fn(&Section<'_>)) -> String {
        let findings = Findings::new(text, &[]);
        let tree = syntax::tree(text, 0..text.len(), &findings).unwrap();
        read(&Section::root(&findings, &tree));
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
            let key = section.optional("key", &Boolean);
            assert!(section.required("key", "\"00\"", key).is_err());
            assert!(section.optional("table_size", &Boolean).is_err());
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
