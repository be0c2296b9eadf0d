//! `[icmp]`: limits on ICMP replies.

use super::findings::Checked;
use super::model::Icmp;
use super::section::Section;
use super::value;

/// Replies per second of one worker: more than a million is no limit.
const MAX_REPLIES: i64 = 1_000_000;

pub(super) fn read(mut section: Section<'_>) -> Checked<Icmp> {
    let defaults = Icmp::default();
    let rate = section.or("rate", defaults.rate, value::integer::<u32>(0..=MAX_REPLIES));
    let burst = section.or("burst", defaults.burst, value::integer::<u32>(1..=MAX_REPLIES));
    section.finish();
    Ok(Icmp { rate: rate?.value, burst: burst?.value })
}
