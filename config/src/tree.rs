//! A text as a tree of values, each with its position: what sections read.
//!
//! `plain.rs` makes the tree of most texts. The `toml` crate reads the others, and [`Table::of_crate`] takes over what it
//! has read. The crate's own tree is not used: it has a kibibyte for each small table, and a configuration has tens of
//! thousands of them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Entries up to which a table is searched one by one.
const FEW: usize = 8;

/// Something, and the byte of the whole text at which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub(crate) at: usize,
    pub(crate) value: T,
}

/// A table: its entries, ordered by key. No key is there twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table<'t>(Vec<Entry<'t>>);

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'t> {
    pub(crate) key: Located<Cow<'t, str>>,
    pub(crate) value: Located<Value<'t>>,
}

impl Entry<'_> {
    /// Whether it has this key. Most keys differ in length or in the first byte.
    #[inline]
    pub(crate) fn has(&self, key: &str) -> bool {
        let ours = &*self.key.value;
        ours.len() == key.len() && ours.as_bytes().first() == key.as_bytes().first() && ours == key
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'t> {
    String(Cow<'t, str>),
    Integer(Integer<'t>),
    Float(Cow<'t, str>),
    Boolean(bool),
    /// A date or a time. No key has one.
    Datetime,
    Array(Vec<Located<Value<'t>>>),
    Table(Table<'t>),
}

/// An integer of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Integer<'t> {
    /// The sign and the digits, without underscores and without the prefix of the radix.
    pub(crate) digits: Cow<'t, str>,
    pub(crate) radix: u32,
}

/// As the text has it.
impl fmt::Display for Integer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.radix {
            2 => "0b",
            8 => "0o",
            16 => "0x",
            _ => "",
        };
        write!(f, "{prefix}{}", self.digits)
    }
}

impl<'t> Table<'t> {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Located<Value<'t>>> {
        let entry = match self.0.len() {
            0..=FEW => self.0.iter().find(|entry| entry.has(key)),
            _ => self.place(key).ok().map(|place| &self.0[place]),
        };
        entry.map(|entry| &entry.value)
    }

    /// The entries, ordered by key.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Entry<'t>> {
        self.0.iter()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of a key. `make` makes it if there is none; `None` if `make` has none either.
    pub(crate) fn entry(
        &mut self,
        key: Located<&'t str>,
        make: impl FnOnce() -> Option<Located<Value<'t>>>,
    ) -> Option<&mut Located<Value<'t>>> {
        let place = match self.place(key.value) {
            Ok(place) => place,
            Err(place) => {
                let key = Located { at: key.at, value: Cow::Borrowed(key.value) };
                self.0.insert(place, Entry { key, value: make()? });
                place
            }
        };
        Some(&mut self.0[place].value)
    }

    /// Adds an entry. Returns whether the key is new; if not, nothing changes.
    pub(crate) fn insert(&mut self, key: Located<&'t str>, value: Located<Value<'t>>) -> bool {
        let Err(place) = self.place(key.value) else { return false };
        let key = Located { at: key.at, value: Cow::Borrowed(key.value) };
        self.0.insert(place, Entry { key, value });
        true
    }

    /// The index of a key, or the one where it belongs.
    fn place(&self, key: &str) -> Result<usize, usize> {
        match self.0.last() {
            Some(last) if *last.key.value >= *key => {
                self.0.binary_search_by(|entry| (*entry.key.value).cmp(key))
            }
            // Many keys come in order.
            _ => Err(self.0.len()),
        }
    }

    /// Joins two tables. `both` joins the values of a key that both have, given the key; its value stays.
    pub(crate) fn merge(
        self,
        other: Table<'t>,
        mut both: impl FnMut(&str, Located<Value<'t>>, Located<Value<'t>>) -> Located<Value<'t>>,
    ) -> Table<'t> {
        let mut entries = Vec::with_capacity(self.len() + other.len());
        let (mut ours, mut theirs) =
            (self.0.into_iter().peekable(), other.0.into_iter().peekable());
        while let (Some(our), Some(their)) = (ours.peek(), theirs.peek()) {
            let order = our.key.value.cmp(&their.key.value);
            let our = if order == Ordering::Greater { None } else { ours.next() };
            let their = if order == Ordering::Less { None } else { theirs.next() };
            entries.extend(match (our, their) {
                (Some(our), Some(their)) => {
                    let value = both(&our.key.value, our.value, their.value);
                    Some(Entry { key: our.key, value })
                }
                (our, their) => our.or(their),
            });
        }
        entries.extend(ours.chain(theirs));
        Table(entries)
    }

    /// What the crate read from the part of a text that begins at `begin`.
    pub(crate) fn of_crate(table: DeTable<'t>, begin: usize) -> Table<'t> {
        // The crate's tables are ordered too.
        let entries = table.into_iter().map(|(key, value)| {
            let at = begin + key.span().start;
            let key = Located { at, value: key.into_inner() };
            Entry { key, value: located(value, begin) }
        });
        Table(entries.collect())
    }
}

impl<'t> Value<'t> {
    /// Reads one value in TOML notation.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &'t str) -> Result<Value<'t>, String> {
        let value = DeValue::parse(text).map_err(|error| error.to_string())?;
        Ok(located(value, 0).value)
    }

    /// Whether it is a table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Value::Table(_))
    }
}

fn located(value: Spanned<DeValue<'_>>, begin: usize) -> Located<Value<'_>> {
    let at = begin + value.span().start;
    let value = match value.into_inner() {
        DeValue::String(text) => Value::String(text),
        DeValue::Integer(integer) => Value::Integer(Integer {
            digits: Cow::Owned(integer.as_str().to_owned()),
            radix: integer.radix(),
        }),
        DeValue::Float(float) => Value::Float(Cow::Owned(float.as_str().to_owned())),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(array) => {
            Value::Array(array.into_iter().map(|element| located(element, begin)).collect())
        }
        DeValue::Table(table) => Value::Table(Table::of_crate(table, begin)),
    };
    Located { at, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table<'_> {
        Table::of_crate(DeTable::parse(text).unwrap().into_inner(), 0)
    }

    #[test]
    fn keys_are_found_in_small_and_large_tables() {
        for count in [0, 1, FEW, FEW + 1, 100] {
            let text: String = (0..count).rev().map(|n| format!("k{n} = {n}\n")).collect();
            let table = table(&text);
            assert_eq!(table.len(), count);
            for n in 0..count {
                let Some(Located { at, value: Value::Integer(found) }) =
                    table.get(&format!("k{n}"))
                else {
                    panic!("k{n}");
                };
                assert_eq!((&*found.digits, found.radix), (&*n.to_string(), 10));
                assert!(text[*at..].starts_with(&n.to_string()));
            }
            assert_eq!(table.get("k"), None);
            assert_eq!(table.get(&format!("k{count}")), None);
        }
    }

    #[test]
    fn a_key_is_inserted_once() {
        let mut table = Table::default();
        let value = |value| Located { at: 9, value: Value::Boolean(value) };
        for (at, key) in ["b", "c", "a"].into_iter().enumerate() {
            assert!(table.insert(Located { at, value: key }, value(true)));
        }
        assert!(!table.insert(Located { at: 3, value: "b" }, value(false)));
        let entries: Vec<_> = table.iter().map(|e| (&*e.key.value, e.key.at)).collect();
        assert_eq!(entries, [("a", 2), ("b", 0), ("c", 1)]);
        assert!(table.iter().all(|entry| entry.value == value(true)));
    }

    #[test]
    fn tables_are_joined_in_order() {
        let mut twice = Vec::new();
        let joined =
            table("b = 1\nd = 2\ne = 3").merge(table("a = 4\nd = 5\nf = 6"), |key, first, _| {
                twice.push(key.to_owned());
                first
            });
        assert_eq!(twice, ["d"]);
        let keys: Vec<_> = joined.iter().map(|entry| &*entry.key.value).collect();
        assert_eq!(keys, ["a", "b", "d", "e", "f"]);
        assert_eq!(joined.get("d").unwrap().at, "b = 1\nd = ".len());
    }

    #[test]
    fn positions_are_those_of_the_whole_text() {
        let text = "a = [1, { b = 'x' }]";
        let found = Table::of_crate(DeTable::parse(text).unwrap().into_inner(), 100);
        let entry = found.iter().next().unwrap();
        assert_eq!((entry.key.at, entry.value.at), (100, 104));
        let Value::Array(elements) = &entry.value.value else { panic!("{entry:?}") };
        let Value::Table(inner) = &elements[1].value else { panic!("{entry:?}") };
        let inner = inner.iter().next().unwrap();
        let places = (elements[0].at, elements[1].at, inner.key.at, inner.value.at);
        assert_eq!(places, (105, 108, 110, 114));
    }

    #[test]
    fn integers_are_shown_as_they_are_written() {
        for text in ["80", "0x1f", "0o17", "0b101", "-7"] {
            let Ok(Value::Integer(integer)) = Value::parse(text) else { panic!("{text}") };
            assert_eq!(integer.to_string(), text);
        }
    }
}
