//! Enums whose variants are known outside by name: metrics, verdicts, reasons.
//!
//! The name and the help text stand beside the variant, so that a new variant is one line and its name cannot
//! be forgotten. The help text is the variant's doc comment: one sentence, of one or several lines.

/// An enum whose variants each have a name and, by their doc comment, a help text.
macro_rules! named {
    ($(#[$attribute:meta])* pub enum $type:ident {
        $($(#[doc = $help:literal])+ $variant:ident = $name:literal,)+
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $type {
            $($(#[doc = $help])+ $variant,)+
        }

        impl $type {
            /// Every variant, in the order of its index.
            pub const ALL: &[$type] = &[$($type::$variant),+];

            /// The position in [`Self::ALL`].
            #[inline]
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The name in listings and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)+
                }
            }

            /// What the number means, in one line.
            pub fn help(self) -> &'static str {
                match self {
                    $($type::$variant => concat!($($help),+).trim_ascii(),)+
                }
            }
        }
    };
}

pub(crate) use named;
