//! The log: lines on stderr, from the level in `GUIDEWAY_LOG` on.
//!
//! The lines pass through a [`Queue`]. A reader that stops, or a full disk, loses lines and never
//! stops the appliance. The message of a panic takes the same route.

use std::backtrace::Backtrace;
use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::panic;
use std::time::Duration;

use guideway_output::{Queue, Standard};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::warn;

/// How long the program waits at its end for the last lines.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

const VARIABLE: &str = "GUIDEWAY_LOG";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Starts the log. Other messages on stderr go through the returned queue too.
pub(super) fn start() -> io::Result<Queue> {
    let queue = Queue::start(Standard::Error)?;
    let lines = queue.clone();
    let (level, warning) = level(std::env::var_os(VARIABLE).as_deref(), STATIC_MAX_LEVEL);
    tracing_subscriber::fmt()
        .with_writer(move || lines.clone())
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // The log would report its own failures with `eprintln!`, which panics or blocks.
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
        lines.flush(FLUSH_TIMEOUT);
    }));
    Ok(queue)
}

/// The level in the variable's value, and a warning if the value is wrong.
fn level(value: Option<&OsStr>, most: LevelFilter) -> (LevelFilter, Option<String>) {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return (LevelFilter::INFO, None);
    };
    let known = value.to_str().map(str::to_ascii_lowercase);
    let known = known.filter(|known| LEVELS.contains(&known.as_str()));
    match known.and_then(|known| known.parse::<LevelFilter>().ok()) {
        Some(level) if level > most => {
            let warning = format!("{VARIABLE}={level}: this build has no levels below {most}");
            (most, Some(warning))
        }
        Some(level) => (level, None),
        None => {
            let levels = LEVELS.join(", ");
            let warning =
                format!("{VARIABLE} is {value:?}; expected one of {levels}; info is used");
            (LevelFilter::INFO, Some(warning))
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
        let (level, warning) = of("debug");
        assert_eq!(level, LevelFilter::INFO);
        assert!(warning.unwrap().contains("no levels below info"));
        for wrong in ["wran", "info,", "guideway=warn", "7", "\u{1b}[31m"] {
            let (level, warning) = of(wrong);
            assert_eq!(level, LevelFilter::INFO);
            let warning = warning.unwrap();
            assert!(warning.contains("expected one of off, error, warn"), "{warning}");
            assert!(!warning.contains('\u{1b}'), "{warning}");
        }
    }
}
