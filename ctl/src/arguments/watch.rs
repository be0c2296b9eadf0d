//! The option `--watch`.

use std::time::Duration;

use clap::Args;

/// Whether to look again and again.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Look again every SECONDS seconds (2 without a value), until interrupted
    #[arg(long = "watch", value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "2", value_parser = interval)]
    pub(crate) every: Option<Duration>,
}

/// Seconds between two looks.
fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number from 0.1 to 3600 is needed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_limits() {
        assert_eq!(interval("0.1"), Ok(Duration::from_millis(100)));
        assert_eq!(interval("3600"), Ok(Duration::from_secs(3600)));
        for text in ["", "0", "0.09", "-1", "3600.1", "inf", "NaN", "2s"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
