//! The kinds of values: how each is read, and its [`Shape`].
//!
//! A kind turns a TOML value into what it means, or into a message: what the value is and what would
//! be right. Sections and [`super::check`] do what depends on other keys.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::findings::excerpt;
use super::shape::{Form, Shape};
use super::tree::{Located, Value};

/// What one value may be.
pub(crate) trait Kind {
    /// What a value means.
    type Value: Debug;

    /// The meaning of a value, or a message: what is wrong and what would be right.
    fn parse(&self, value: &Value<'_>) -> Result<Self::Value, String>;

    /// What a value may be, as data.
    fn shape(&self) -> Shape;

    /// A value as the file writes it.
    fn show(&self, value: &Self::Value) -> String {
        format!("{value:?}")
    }
}

/// The shape of a kind of values of a type.
pub(crate) fn shape<T>(kind: &impl Kind<Value = T>) -> Shape {
    kind.shape()
}

/// A value in TOML notation that the program's own text has: a default.
#[expect(clippy::panic, reason = "a test reads every default")]
pub(crate) fn literal<K: Kind>(kind: &K, text: &str) -> K::Value {
    Value::parse(text)
        .and_then(|value| kind.parse(&value))
        .unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The value in words: `is the integer 70000`.
pub(crate) fn describe(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => format!("is the string {}", excerpt(text)),
        Value::Integer(integer) => format!("is the integer {}", shorten(&integer.to_string())),
        Value::Float(digits) => format!("is the number {}", shorten(digits)),
        Value::Boolean(value) => format!("is {value}"),
        Value::Datetime => "is a date or time".to_owned(),
        Value::Array(_) => "is an array".to_owned(),
        Value::Table(_) => "is a table".to_owned(),
    }
}

/// The digits of a number, shortened. They may be any text: the TOML parser reports an invalid
/// number and goes on.
fn shorten(digits: &str) -> String {
    match digits.char_indices().nth(24) {
        None => digits.to_owned(),
        Some((end, _)) => format!("{}...", &digits[..end]),
    }
}

fn mismatch(value: &Value<'_>, expected: &str) -> String {
    let unquoted = match value {
        Value::String(_) => ", without quotes",
        _ => "",
    };
    format!("{}; expected {expected}{unquoted}", describe(value))
}

/// `true` or `false`.
pub(crate) struct Boolean;

impl Kind for Boolean {
    type Value = bool;

    fn parse(&self, value: &Value<'_>) -> Result<bool, String> {
        match value {
            Value::Boolean(value) => Ok(*value),
            value => Err(mismatch(value, "true or false")),
        }
    }

    fn shape(&self) -> Shape {
        Shape::Boolean
    }
}

/// An integer in a range.
pub(crate) struct Integer<T> {
    range: RangeInclusive<i64>,
    rule: Rule,
    value: PhantomData<T>,
}

/// A rule that an integer must follow: what it is then, in words, and the neighbours of a number
/// that does not follow it.
type Rule = Option<(&'static str, fn(i64) -> Option<(i64, i64)>)>;

pub(crate) fn integer<T>(range: RangeInclusive<i64>) -> Integer<T> {
    Integer { range, rule: None, value: PhantomData }
}

/// A power of two in a range of powers of two.
pub(crate) fn power_of_two<T>(range: RangeInclusive<i64>) -> Integer<T> {
    fn neighbours(number: i64) -> Option<(i64, i64)> {
        let below = 1 << number.ilog2();
        (number != below).then_some((below, below * 2))
    }
    integer(range).that_is("a power of two", neighbours)
}

impl<T> Integer<T> {
    /// With a rule: `neighbours` has the numbers around one that breaks it.
    pub(crate) fn that_is(
        self,
        what: &'static str,
        neighbours: fn(i64) -> Option<(i64, i64)>,
    ) -> Integer<T> {
        Integer { rule: Some((what, neighbours)), ..self }
    }
}

impl<T: TryFrom<i64> + Debug> Kind for Integer<T> {
    type Value = T;

    fn parse(&self, value: &Value<'_>) -> Result<T, String> {
        let number = match value {
            Value::Integer(integer) => i64::from_str_radix(&integer.digits, integer.radix).ok(),
            _ => None,
        };
        let number = number.filter(|number| self.range.contains(number));
        if let (Some(number), Some((what, neighbours))) = (number, self.rule)
            && let Some((below, above)) = neighbours(number)
        {
            return Err(format!("is {number}, not {what}; the nearest are {below} and {above}"));
        }
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let (low, high) = (self.range.start(), self.range.end());
            mismatch(value, &format!("an integer from {low} to {high}"))
        })
    }

    fn shape(&self) -> Shape {
        let also = self.rule.map_or("", |(what, _)| what);
        Shape::Integer { low: *self.range.start(), high: *self.range.end(), also }
    }
}

/// A duration, written as an integer of a unit.
pub(crate) struct Time {
    count: Integer<u32>,
    unit: Duration,
}

pub(crate) fn seconds(range: RangeInclusive<i64>) -> Time {
    Time { count: integer(range), unit: Duration::from_secs(1) }
}

pub(crate) fn milliseconds(range: RangeInclusive<i64>) -> Time {
    Time { count: integer(range), unit: Duration::from_millis(1) }
}

impl Kind for Time {
    type Value = Duration;

    fn parse(&self, value: &Value<'_>) -> Result<Duration, String> {
        Ok(self.count.parse(value)? * self.unit)
    }

    fn shape(&self) -> Shape {
        self.count.shape()
    }

    fn show(&self, value: &Duration) -> String {
        (value.as_millis() / self.unit.as_millis()).to_string()
    }
}

/// One of several words, each with its meaning.
pub(crate) struct Words<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + Debug + PartialEq> Kind for Words<T> {
    type Value = T;

    fn parse(&self, value: &Value<'_>) -> Result<T, String> {
        let text = match value {
            Value::String(text) => Some(text.as_ref()),
            _ => None,
        };
        let found = self.0.iter().find(|(word, _)| Some(*word) == text);
        found.map(|&(_, meaning)| meaning).ok_or_else(|| {
            let words: Vec<String> = self.0.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("{}; expected {}", describe(value), words.join(" or "))
        })
    }

    fn shape(&self) -> Shape {
        Shape::Words(self.0.iter().map(|&(word, _)| word).collect())
    }

    fn show(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, meaning)| meaning == value);
        word.map_or_else(|| format!("{value:?}"), |(word, _)| format!("{word:?}"))
    }
}

/// One word, or several different ones in an array.
pub(crate) struct OneOrMore<T: 'static>(pub(crate) Words<T>);

impl<T: Copy + Debug + PartialEq> Kind for OneOrMore<T> {
    type Value = Vec<T>;

    fn parse(&self, value: &Value<'_>) -> Result<Vec<T>, String> {
        let Value::Array(array) = value else { return Ok(vec![self.0.parse(value)?]) };
        let mut listed = Vec::with_capacity(array.len().min(self.0.0.len()));
        for (index, element) in array.iter().enumerate() {
            let found = self.0.parse(&element.value).map_err(|why| format!("[{index}] {why}"))?;
            if listed.contains(&found) {
                return Err(format!("has {} twice; keep one", self.0.show(&found)));
            }
            listed.push(found);
        }
        match listed.is_empty() {
            true => Err(format!("is empty; list at least one, for example [{:?}]", self.0.0[0].0)),
            false => Ok(listed),
        }
    }

    fn shape(&self) -> Shape {
        Shape::Either(vec![self.0.shape(), Shape::Array(Box::new(self.0.shape()))])
    }
}

/// An array of at least one value.
pub(crate) struct Array<K>(pub(crate) K);

impl<K: Kind> Kind for Array<K> {
    type Value = Vec<K::Value>;

    fn parse(&self, value: &Value<'_>) -> Result<Vec<K::Value>, String> {
        let Value::Array(array) = value else {
            return Err(format!("{}; expected an array", describe(value)));
        };
        if array.is_empty() {
            return Err("is empty; list at least one, or leave the key out".to_owned());
        }
        let element = |(index, element): (usize, &Located<Value<'_>>)| {
            self.0.parse(&element.value).map_err(|why| format!("[{index}] {why}"))
        };
        array.iter().enumerate().map(element).collect()
    }

    fn shape(&self) -> Shape {
        Shape::Array(Box::new(self.0.shape()))
    }
}

/// An integer, or a word in its place.
pub(crate) struct IntegerOr<N, T: 'static> {
    pub(crate) integer: Integer<N>,
    pub(crate) meaning: fn(N) -> T,
    pub(crate) word: &'static [(&'static str, T)],
}

impl<N: TryFrom<i64> + Debug, T: Copy + Debug + PartialEq> Kind for IntegerOr<N, T> {
    type Value = T;

    fn parse(&self, value: &Value<'_>) -> Result<T, String> {
        let words = Words(self.word);
        if let Value::String(_) = value {
            let (low, high) = (self.integer.range.start(), self.integer.range.end());
            let or = |why| format!("{why}, or an integer from {low} to {high}");
            return words.parse(value).map_err(or);
        }
        let or = |why| format!("{why}, or {:?}", self.word[0].0);
        self.integer.parse(value).map(self.meaning).map_err(or)
    }

    fn shape(&self) -> Shape {
        Shape::Either(vec![self.integer.shape(), Words(self.word).shape()])
    }
}

/// A string of a form. The error of `parse` follows a description of the value.
pub(crate) struct Text<T> {
    pub(crate) form: &'static Form,
    pub(crate) parse: fn(&str) -> Result<T, String>,
}

impl<T: Debug> Kind for Text<T> {
    type Value = T;

    fn parse(&self, value: &Value<'_>) -> Result<T, String> {
        match value {
            Value::String(text) => {
                (self.parse)(text).map_err(|expected| format!("is {}; {expected}", excerpt(text)))
            }
            value => Err(format!("{}; expected a string, in quotes", describe(value))),
        }
    }

    fn shape(&self) -> Shape {
        Shape::Text(self.form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a value in TOML notation.
    fn parsed<K: Kind>(kind: &K, value: &str) -> Result<K::Value, String> {
        kind.parse(&Value::parse(value).unwrap())
    }

    #[track_caller]
    fn refuses<T: Debug>(result: Result<T, String>, why: &str) {
        let message = result.unwrap_err();
        assert!(message.contains(why), "{message}");
    }

    #[test]
    fn integers_of_any_radix_within_their_range() {
        let port = |value| parsed(&integer::<u16>(1..=65535), value);
        assert_eq!(port("80"), Ok(80));
        assert_eq!(port("0xff_ff"), Ok(65535));
        assert_eq!(port("+1_000"), Ok(1000));
        refuses(port("0"), "is the integer 0; expected an integer from 1 to 65535");
        refuses(port("-1"), "is the integer -1");
        refuses(port("99999999999999999999999999999999999"), "is the integer 9999");
        refuses(port("80.0"), "is the number 80.0");
        refuses(port("\"80\""), "expected an integer from 1 to 65535, without quotes");
        refuses(port("1979-05-27"), "is a date or time");
    }

    #[test]
    fn powers_of_two() {
        let entries = |value| parsed(&power_of_two::<u16>(4..=32768), value);
        assert_eq!(entries("32768"), Ok(32768));
        refuses(entries("1000"), "the nearest are 512 and 1024");
        refuses(entries("2"), "from 4 to 32768");
    }

    #[test]
    fn words_list_the_choice() {
        let choice = |value| parsed(&Words(&[("tcp", 6), ("udp", 17)]), value);
        assert_eq!(choice("'udp'"), Ok(17));
        refuses(choice("'TCP'"), r#"is the string "TCP"; expected "tcp" or "udp""#);
        refuses(choice("6"), "is the integer 6");
    }
}
