//! The declaration of the kinds of events.

use serde::{Deserialize, Serialize};

/// How much an event asks of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something failed or stands still.
    Error,
    /// Something is not as it should be.
    Warning,
    /// Good to know.
    Info,
}

/// Declares [`Happening`]: each kind once, with its name, its severity and its meaning.
macro_rules! happenings {
    ($(
        $(#[doc = $help:literal])+
        $severity:ident $variant:ident = $name:literal {
            $($(#[$attribute:meta])* $field:ident: $type:ty,)*
        }
    )+) => {
        /// What happened. The field `event` has the kind.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "event")]
        pub enum Happening {
            $(
                $(#[doc = $help])+
                #[serde(rename = $name)]
                $variant { $($(#[$attribute])* $field: $type,)* },
            )+
        }

        impl Happening {
            /// Every kind: its name, its severity, its meaning.
            pub const KINDS: &[(&str, Severity, &str)] =
                &[$(($name, Severity::$severity, concat!($($help),+).trim_ascii())),+];

            /// The position of the kind in [`Happening::KINDS`].
            pub fn index(&self) -> usize {
                /// The kinds, without their fields.
                enum Kind { $($variant,)+ }
                let kind = match self {
                    $(Happening::$variant { .. } => Kind::$variant,)+
                };
                kind as usize
            }

            /// The kind's name.
            pub fn name(&self) -> &'static str {
                Happening::KINDS[self.index()].0
            }

            /// How much the event asks of the operator.
            pub fn severity(&self) -> Severity {
                Happening::KINDS[self.index()].1
            }
        }
    };
}
