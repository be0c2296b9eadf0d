//! `[log]`: what the log has, and its form.

use crate::declare::section;
use crate::kind::Words;

/// The least severe lines that the log has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// No lines.
    Off,
    /// Failures.
    Error,
    /// What is not as it should be, too.
    Warn,
    /// What is good to know, too.
    #[default]
    Info,
    /// What helps to find a defect, too.
    Debug,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people, on stderr.
    #[default]
    Text,
    /// One JSON object a line, on stderr.
    Json,
    /// Entries with fields in systemd's journal.
    Journald,
}

const LEVEL: Words<LogLevel> = Words(&[
    ("off", LogLevel::Off),
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
]);

const FORMAT: Words<LogFormat> = Words(&[
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
    ("journald", LogFormat::Journald),
]);

section! {
    /// The log.
    ///
    /// [The log](operations.md#the-log) has the forms and the fields.
    "[log]" 0..=1 => Log, LogDraft {
        /// The least severe lines that the log has. `guidewayctl log level` changes it until the next start, or until a
        /// reload or an apply changes this key. At the start, the environment variable `GUIDEWAY_LOG` has precedence.
        level: LogLevel = LEVEL, default "\"info\"", reload;
        /// The form of the log: lines for people, JSON objects, or entries with fields in systemd's journal.
        format: LogFormat = FORMAT, default "\"text\"", restart;
    }
}
