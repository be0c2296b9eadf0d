//! The log: lines on stderr, from the level that `GUIDEWAY_LOG` names.
//!
//! The lines go through a [`Queue`], so that a reader that stops, or a full disk, costs lines and never
//! stops the appliance. The words of a panic go there too, for the same reason.

use std::backtrace::Backtrace;
use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::panic;
use std::time::Duration;

use guideway_output::{Queue, Standard};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::warn;

/// How long the end of the program waits for the last lines.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

const VARIABLE: &str = "GUIDEWAY_LOG";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Starts the log. What else the program has to say on stderr goes through the same queue.
pub(super) fn start() -> io::Result<Queue> {
    let queue = Queue::start(Standard::Error)?;
    let lines = queue.clone();
    let (level, warning) = level(std::env::var_os(VARIABLE).as_deref(), STATIC_MAX_LEVEL);
    tracing_subscriber::fmt()
        .with_writer(move || lines.clone())
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // It would report its own failures with `eprintln!`, which panics or blocks.
        .log_internal_errors(false)
        .with_max_level(level)
        .init();
    if let Some(warning) = warning {
        warn!("{warning}");
    }
    let lines = queue.clone();
    panic::set_hook(Box::new(move |panic| {
        lines.offer(format!("{panic}\nbacktrace: {}\n", Backtrace::capture()).as_bytes());
        // The panic may end the program.
        lines.flush(PATIENCE);
    }));
    Ok(queue)
}

/// The level that the variable's value asks for, and what is wrong with the value.
fn level(value: Option<&OsStr>, most: LevelFilter) -> (LevelFilter, Option<String>) {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return (LevelFilter::INFO, None);
    };
    let known = value.to_str().map(str::to_ascii_lowercase);
    let known = known.filter(|known| LEVELS.contains(&known.as_str()));
    match known.and_then(|known| known.parse::<LevelFilter>().ok()) {
        Some(level) if level > most => {
            let told = format!("{VARIABLE}={level}: this build has no levels below {most}");
            (most, Some(told))
        }
        Some(level) => (level, None),
        None => {
            let levels = LEVELS.join(", ");
            let told = format!("{VARIABLE} is {value:?}; expected one of {levels}; info is used");
            (LevelFilter::INFO, Some(told))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> (LevelFilter, Option<String>) {
        level(Some(OsStr::new(value)), LevelFilter::INFO)
    }

    #[test]
    fn a_level_is_used_and_anything_else_is_reported() {
        assert_eq!(level(None, LevelFilter::INFO), (LevelFilter::INFO, None));
        assert_eq!(of(""), (LevelFilter::INFO, None));
        assert_eq!(of("WARN"), (LevelFilter::WARN, None));
        assert_eq!(of("off"), (LevelFilter::OFF, None));
        let (level, told) = of("debug");
        assert_eq!(level, LevelFilter::INFO);
        assert!(told.unwrap().contains("no levels below info"));
        for wrong in ["wran", "info,", "guideway=warn", "7", "\u{1b}[31m"] {
            let (level, told) = of(wrong);
            assert_eq!(level, LevelFilter::INFO);
            let told = told.unwrap();
            assert!(told.contains("expected one of off, error, warn"), "{told}");
            assert!(!told.contains('\u{1b}'), "{told}");
        }
    }
}
