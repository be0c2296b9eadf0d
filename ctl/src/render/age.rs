//! How long ago something was.

use std::time::SystemTime;

use humantime::parse_rfc3339;

/// How long ago a time was, in its largest unit: `12s`, `5m`, `3h` or `40d`. Empty if it is no time.
pub(super) fn age(time: &str, now: SystemTime) -> String {
    let Ok(time) = parse_rfc3339(time) else { return String::new() };
    let seconds = now.duration_since(time).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let time = "2026-01-02T03:04:05.678Z";
        let start = parse_rfc3339(time).unwrap();
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3599, "59m"),
            (3600, "1h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (86_400 * 400, "400d"),
        ] {
            assert_eq!(age(time, start + Duration::from_secs(seconds)), expected);
        }
        assert_eq!(age(time, start - Duration::from_secs(5)), "0s", "a clock was set back");
        assert_eq!(age("", start), "");
    }
}
