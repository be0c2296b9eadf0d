//! What a value may be, as data: the reference, the schema and `explain` are made from it.

/// What a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `true` or `false`.
    Boolean,
    /// An integer in a range.
    Integer {
        /// The least.
        low: i64,
        /// The largest.
        high: i64,
        /// What else it must be, in words: `a power of two`. Empty for nothing.
        also: &'static str,
    },
    /// A string in quotes.
    Text(&'static Form),
    /// One of some words.
    Words(Vec<&'static str>),
    /// One of several shapes.
    Either(Vec<Shape>),
    /// An array of values of one shape.
    Array(Box<Shape>),
    /// The section of this path, once.
    Table(&'static str),
    /// Sections of this path, any number.
    Tables(&'static str),
}

/// What a string may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// One such string: `address`.
    pub noun: &'static str,
    /// Its limits in words, for example `unicast`. Empty for none.
    pub limits: &'static str,
    /// A regular expression that every valid string matches, for editors. Empty for any.
    pub pattern: &'static str,
}

impl Shape {
    /// The shape in a few words: `array of addresses`.
    pub fn noun(&self) -> String {
        match self {
            Shape::Boolean => "boolean".to_owned(),
            Shape::Integer { .. } => "integer".to_owned(),
            Shape::Text(form) => form.noun.to_owned(),
            Shape::Words(words) => {
                words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
            }
            Shape::Either(shapes) => match shapes.as_slice() {
                [one, Shape::Array(of)] if **of == *one => {
                    format!("{}, or an array of them", one.noun())
                }
                shapes => shapes.iter().map(Shape::noun).collect::<Vec<_>>().join(" or "),
            },
            Shape::Array(of) => match of.noun() {
                noun if noun.starts_with('"') => format!("array of {noun}"),
                noun if noun.ends_with('s') || noun.ends_with('x') => format!("array of {noun}es"),
                noun => match noun.strip_suffix('y') {
                    Some(stem) => format!("array of {stem}ies"),
                    None => format!("array of {noun}s"),
                },
            },
            Shape::Table(_) => "section".to_owned(),
            Shape::Tables(_) => "array of tables".to_owned(),
        }
    }

    /// The limits in words, empty without any.
    pub fn limits(&self) -> String {
        match self {
            Shape::Integer { low, high, also: "" } => format!("{low} to {high}"),
            Shape::Integer { low, high, also } => format!("{also} from {low} to {high}"),
            Shape::Text(form) => form.limits.to_owned(),
            Shape::Array(of) => of.limits(),
            Shape::Either(shapes) => {
                let limits = shapes.iter().map(Shape::limits).filter(|limits| !limits.is_empty());
                limits.collect::<Vec<_>>().join("; ")
            }
            Shape::Boolean | Shape::Words(_) | Shape::Table(_) | Shape::Tables(_) => String::new(),
        }
    }
}
