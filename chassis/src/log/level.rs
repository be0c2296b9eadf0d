//! Levels: of `GUIDEWAY_LOG`, of the configuration, of requests.

use std::ffi::OsStr;

use crate::event::AUDIT;
use guideway_api::LogLevel;
use guideway_config as config;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

pub(super) const VARIABLE: &str = "GUIDEWAY_LOG";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The level in the variable's value, `None` if it has none, and a warning if the value is wrong.
pub(super) fn of(
    value: Option<&OsStr>,
    most: LevelFilter,
) -> (Option<LevelFilter>, Option<String>) {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return (None, None);
    };
    let known = value.to_str().map(str::to_ascii_lowercase);
    let known = known.filter(|known| LEVELS.contains(&known.as_str()));
    match known.and_then(|known| known.parse::<LevelFilter>().ok()) {
        Some(level) if level > most => {
            let warning = format!("{VARIABLE}={level}: this build has no levels below {most}");
            (Some(most), Some(warning))
        }
        Some(level) => (Some(level), None),
        None => {
            let levels = LEVELS.join(", ");
            let warning =
                format!("{VARIABLE} is {value:?}; expected one of {levels}; it is not used");
            (None, Some(warning))
        }
    }
}

pub(super) fn of_configuration(level: config::LogLevel) -> LogLevel {
    match level {
        config::LogLevel::Off => LogLevel::Off,
        config::LogLevel::Error => LogLevel::Error,
        config::LogLevel::Warn => LogLevel::Warn,
        config::LogLevel::Info => LogLevel::Info,
        config::LogLevel::Debug => LogLevel::Debug,
    }
}

pub(super) fn to_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}

/// Passes the lines of a level, and those of the audit trail at every level.
pub(super) fn passing(level: LevelFilter) -> Targets {
    Targets::new().with_default(level).with_target(AUDIT, LevelFilter::INFO)
}

/// The level of a filter. Requests have no name for `trace`.
pub(super) fn to_api(filter: LevelFilter) -> LogLevel {
    let named = LogLevel::ALL.into_iter().find(|&level| to_filter(level) == filter);
    named.unwrap_or(LogLevel::Debug)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_value(value: &str) -> (Option<LevelFilter>, Option<String>) {
        of(Some(OsStr::new(value)), LevelFilter::DEBUG)
    }

    #[test]
    fn a_level_is_used_and_anything_else_is_reported() {
        assert_eq!(of(None, LevelFilter::DEBUG), (None, None));
        assert_eq!(of_value(""), (None, None));
        assert_eq!(of_value("WARN"), (Some(LevelFilter::WARN), None));
        assert_eq!(of_value("off"), (Some(LevelFilter::OFF), None));
        let (level, warning) = of_value("trace");
        assert_eq!(level, Some(LevelFilter::DEBUG));
        assert!(warning.unwrap().contains("no levels below debug"));
        for wrong in ["wran", "info,", "guideway=warn", "7", "\u{1b}[31m"] {
            let (level, warning) = of_value(wrong);
            assert_eq!(level, None);
            let warning = warning.unwrap();
            assert!(warning.contains("expected one of off, error, warn"), "{warning}");
            assert!(!warning.contains('\u{1b}'), "{warning}");
        }
    }

    #[test]
    fn every_level_has_a_filter_of_its_own() {
        for level in LogLevel::ALL {
            assert_eq!(to_api(to_filter(level)), level);
            assert_eq!(to_filter(level).to_string(), level.name());
        }
        assert_eq!(to_api(LevelFilter::TRACE), LogLevel::Debug);
    }
}
