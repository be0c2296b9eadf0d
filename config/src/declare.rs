//! How a section is declared: each key once, and everything else follows.
//!
//! [`section!`] takes the header of a section, how often it may occur, and its keys:
//!
//! ```text
//! section! {
//!     /// What the section is for.
//!     "[icmp]" 0..=1 => Icmp, IcmpDraft {
//!         /// What the key means. The first paragraph is its row in the reference.
//!         rate: u32 = integer(0..=1_000_000), default "1000", reload, unit "per second";
//!     }
//! }
//! ```
//!
//! The *model* is the struct that the rest of the program uses. The *draft* has the same keys as they were read:
//! each a value, or a reported mistake.
//!
//! A key has a field name (with the key's name in parentheses if it differs), its type in the model,
//! its [`Kind`](super::kind::Kind), then
//!
//! | word | the key | the model has |
//! |---|---|---|
//! | `required "EXAMPLE"` | must be there | the value |
//! | `default "VALUE"` | has this value if it is left out | the value |
//! | `optional "EXAMPLE" else "WORDS"` | may be left out; the words say what holds then | an `Option` |
//! | `list "EXAMPLE"` | is an array of such values, empty if it is left out | a `Vec` |
//! | `required_list "EXAMPLE"` | is such an array and must be there | a `Vec` |
//!
//! optionally a unit, and whether a `reload` puts a change in force or only a `restart` does. Behind
//! the keys may come `keys FIELD: DRAFT` for keys that several sections share, which `DRAFT::read_shared` reads,
//! `table FIELD (KEY): MODEL, DRAFT` for each section in this one, and `tables FIELD: DRAFT, EXAMPLE else WORDS, DOC` for
//! several, none if the key is left out; `keys` and `tables` only without a model.
//!
//! The macro makes the draft, its reading, and the [`Declaration`] for the reference, the schema and `explain`. If a
//! model is named, it also makes the model, the draft's turn into it, and the differences that need a restart.

use std::ops::RangeInclusive;

use super::shape::Shape;

/// The declaration of a section.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Its header: `[flow.timeout]`, `[[port]]`.
    pub header: &'static str,
    /// How often it may occur.
    pub count: RangeInclusive<usize>,
    /// What it is for, as the source has it.
    pub(crate) about: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: Vec<Key>,
}

/// The declaration of a key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub shape: Shape,
    /// Whether it must be there, and what holds without it.
    pub presence: Presence,
    /// The unit of a number, empty without one.
    pub unit: &'static str,
    /// A value in TOML notation.
    pub example: &'static str,
    /// Whether a reload puts a change in force.
    pub reload: bool,
    /// What it means, as the source has it.
    pub(crate) meaning: &'static str,
}

/// Whether a key must be there, and what holds without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must be there.
    Required,
    /// It has this value, in TOML notation.
    Default(&'static str),
    /// Something else holds, in words.
    Optional(&'static str),
}

impl Declaration {
    /// The dotted path: `flow.timeout`.
    pub fn path(&self) -> &'static str {
        self.header.trim_matches(['[', ']'])
    }

    /// Whether it may occur several times, in double brackets.
    pub fn is_repeated(&self) -> bool {
        self.header.starts_with("[[")
    }

    /// What it is for, a paragraph an element.
    pub fn about(&self) -> Vec<String> {
        paragraphs(self.about)
    }
}

impl Key {
    /// What it means, a paragraph an element.
    pub fn meaning(&self) -> Vec<String> {
        paragraphs(self.meaning)
    }

    /// What holds without the key: `required`, or the default.
    pub fn default(&self) -> &'static str {
        match self.presence {
            Presence::Required => "required",
            Presence::Default(value) | Presence::Optional(value) => value,
        }
    }
}

/// The paragraphs of a documentation comment, each on one line.
fn paragraphs(doc: &str) -> Vec<String> {
    let lines: Vec<&str> = doc.lines().map(str::trim).collect();
    lines.split(|line| line.is_empty()).map(|lines| lines.join(" ")).collect()
}

/// Declares a section: see the [module](self).
macro_rules! section {
    (
        $(#[doc = $about:literal])+ $(#[derive($($derive:ident),+)])?
        $header:literal $count:expr => $model:ident, $draft:ident $body:tt
    ) => {
        section! { $(#[doc = $about])+ $header $count => $draft $body }
        section! { @model [$(#[doc = $about])+ $(#[derive($($derive),+)])?] $model $draft $body }
    };
    (
        $(#[doc = $about:literal])+
        $header:literal $count:expr => $draft:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident $(($key:literal))?: $type:ty = $kind:expr,
                $presence:ident $example:literal $(else $without:literal)?,
                $change:ident $(, unit $unit:literal)?;
            )*
            $(keys $shared:ident: $shared_draft:ty;)?
            $(table $table:ident ($table_key:literal): $table_model:ty, $table_draft:ty;)*
            $(tables $tables:ident: $tables_draft:ty, $tables_example:literal else $tables_without:literal,
                $tables_doc:literal;)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        pub(crate) struct $draft {
            $(pub(crate) $field: $crate::findings::Checked<section!(@model_type $presence $type)>,)*
            $(pub(crate) $shared: $shared_draft,)?
            $(pub(crate) $table: $table_draft,)*
            $(pub(crate) $tables: $crate::findings::Checked<Vec<$tables_draft>>,)?
        }

        impl $draft {
            /// The names of the keys.
            pub(crate) const NAMES: &[&str] = &[
                $(section!(@name $field $($key)?),)* $($table_key,)* $(stringify!($tables),)?
            ];

            /// Reads the keys of a section, and reports those that are not declared.
            #[allow(dead_code, reason = "shared keys are read with those of their section")]
            pub(crate) fn read(section: &$crate::section::Section<'_>) -> $draft {
                let draft = Self::read_keys(section);
                section.finish(&[Self::NAMES $(, <$shared_draft>::NAMES)?]);
                draft
            }

            /// Reads the keys of a section, which may have others.
            pub(crate) fn read_keys(section: &$crate::section::Section<'_>) -> $draft {
                $draft {
                    $($field: section!(
                        @read section, $presence, section!(@name $field $($key)?), $type, $kind, $example
                    ),)*
                    $($shared: <$shared_draft>::read_shared(section),)?
                    $($table: <$table_draft>::read(&section.table($table_key, false)),)*
                    $($tables: section.tables(stringify!($tables)).map(|found| {
                        found.iter().flatten().map(<$tables_draft>::read).collect()
                    }),)?
                }
            }

            /// What the reference, the schema and `explain` say.
            #[allow(unused_mut, reason = "a section need not share keys")]
            pub(crate) fn declaration() -> $crate::declare::Declaration {
                use $crate::declare::{Declaration, Key};
                let mut keys = vec![
                    $(Key {
                        name: section!(@name $field $($key)?),
                        shape: section!(@shape $presence $type, $kind),
                        presence: section!(@presence $presence $example $($without)?),
                        unit: concat!($($unit)?),
                        example: $example,
                        reload: section!(@reload $change),
                        meaning: concat!($($doc, "\n"),+),
                    },)*
                ];
                $(keys.extend(<$shared_draft>::declaration().keys);)?
                $(keys.push(Key {
                    name: $table_key,
                    shape: $crate::shape::Shape::Table(<$table_draft>::declaration().path()),
                    presence: $crate::declare::Presence::Optional("every default"),
                    unit: "",
                    example: "",
                    reload: true,
                    meaning: "The section of that name.",
                });)*
                $(keys.push(Key {
                    name: stringify!($tables),
                    shape: $crate::shape::Shape::Tables(<$tables_draft>::declaration().path()),
                    presence: $crate::declare::Presence::Optional($tables_without),
                    unit: "",
                    example: $tables_example,
                    reload: true,
                    meaning: $tables_doc,
                });)?
                Declaration { header: $header, count: $count, about: concat!($($about, "\n"),+), keys }
            }
        }
    };
    (@model [$($attribute:tt)+] $model:ident $draft:ident {
        $(
            $(#[doc = $doc:literal])+
            $field:ident $(($key:literal))?: $type:ty = $kind:expr,
            $presence:ident $example:literal $(else $without:literal)?,
            $change:ident $(, unit $unit:literal)?;
        )*
        $(table $table:ident ($table_key:literal): $table_model:ty, $table_draft:ty;)*
    }) => {
        $($attribute)+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $model {
            $($(#[doc = $doc])+ pub $field: section!(@model_type $presence $type),)*
            $(#[doc = concat!("The section `", $table_key, "`.")] pub $table: $table_model,)*
        }

        impl $draft {
            /// The model, if no key has a mistake.
            pub(crate) fn finish(self) -> $crate::findings::Checked<$model> {
                Ok($model {
                    $($field: self.$field?,)*
                    $($table: self.$table.finish()?,)*
                })
            }
        }

        impl $model {
            /// What a reload cannot change of this, one phrase each; `title` turns a key's name
            /// into what the operator reads: `dpdk.workers`, `mtu of port "edge0"`.
            #[allow(dead_code, reason = "the entries of some sections are not compared one by one")]
            pub(crate) fn differences(
                &self,
                new: &$model,
                title: impl Fn(&str) -> String,
            ) -> Vec<String> {
                let mut found = Vec::new();
                $(if !section!(@reload $change) && self.$field != new.$field {
                    found.push(format!(
                        "{} is {} and would be {}",
                        title(section!(@name $field $($key)?)),
                        section!(@show $presence &$kind, &self.$field),
                        section!(@show $presence &$kind, &new.$field),
                    ));
                })*
                $(found.extend(self.$table.differences(&new.$table, &title));)*
                found
            }
        }
    };
    (@name $field:ident $key:literal) => { $key };
    (@name $field:ident) => { stringify!($field) };
    (@reload reload) => { true };
    (@reload restart) => { false };

    (@model_type required $type:ty) => { $type };
    (@model_type default $type:ty) => { $type };
    (@model_type optional $type:ty) => { Option<$type> };
    (@model_type $list:ident $type:ty) => { Vec<$type> };

    (@read $section:ident, required, $name:expr, $type:ty, $kind:expr, $example:literal) => {
        $section.required($name, $example, $section.optional($name, &$kind))
    };
    (@read $section:ident, default, $name:expr, $type:ty, $kind:expr, $default:literal) => {
        $section.optional($name, &$kind).map(|found| found.unwrap_or_else(|| {
            static DEFAULT: std::sync::OnceLock<$type> = std::sync::OnceLock::new();
            DEFAULT.get_or_init(|| $crate::kind::literal(&$kind, $default)).clone()
        }))
    };
    (@read $section:ident, optional, $name:expr, $type:ty, $kind:expr, $example:literal) => {
        $section.optional($name, &$kind)
    };
    (@read $section:ident, list, $name:expr, $type:ty, $kind:expr, $example:literal) => {
        $section.list($name, $example, &$kind).map(Option::unwrap_or_default)
    };
    (@read $section:ident, required_list, $name:expr, $type:ty, $kind:expr, $example:literal) => {
        $section.required($name, $example, $section.list($name, $example, &$kind))
    };

    (@shape list $type:ty, $kind:expr) => {
        $crate::shape::Shape::Array(Box::new($crate::kind::shape::<$type>(&$kind)))
    };
    (@shape required_list $type:ty, $kind:expr) => { section!(@shape list $type, $kind) };
    (@shape $one:ident $type:ty, $kind:expr) => { $crate::kind::shape::<$type>(&$kind) };

    (@presence default $default:literal) => { $crate::declare::Presence::Default($default) };
    (@presence optional $example:literal $without:literal) => {
        $crate::declare::Presence::Optional($without)
    };
    (@presence list $example:literal) => { $crate::declare::Presence::Default("[]") };
    (@presence $required:ident $example:literal) => { $crate::declare::Presence::Required };

    (@show required $kind:expr, $value:expr) => { $crate::kind::Kind::show($kind, $value) };
    (@show default $kind:expr, $value:expr) => { $crate::kind::Kind::show($kind, $value) };
    (@show optional $kind:expr, $value:expr) => {
        $value.as_ref().map_or("unset".to_owned(), |value| $crate::kind::Kind::show($kind, value))
    };
    (@show $list:ident $kind:expr, $value:expr) => { format!("{:?}", $value) };
}

pub(crate) use section;
