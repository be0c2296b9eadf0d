//! `[flow]`: the flow tables and their timeouts.

use std::time::Duration;

use super::findings::Checked;
use super::model::{Flow, Timeouts};
use super::section::Section;
use super::value;

const DEFAULT_ENTRIES: usize = 1 << 20;

const MAX_ENTRIES: i64 = 1 << 28;

pub(super) fn read(mut section: Section<'_>) -> Checked<Flow> {
    let entries =
        section.or("entries", DEFAULT_ENTRIES, value::power_of_two::<usize>(4..=MAX_ENTRIES));
    let mut table = section.table("timeout", false);
    section.finish();
    let defaults = Timeouts::default();
    let mut timeout = |key, default: Duration| {
        let seconds = table.optional(key, value::integer::<u32>(1..=86_400));
        seconds.map(|given| given.map_or(default, |s| Duration::from_secs(s.value.into())))
    };
    let syn = timeout("syn", defaults.syn);
    let established = timeout("established", defaults.established);
    let half_closed = timeout("half_closed", defaults.half_closed);
    let closing = timeout("closing", defaults.closing);
    let unconfirmed = timeout("unconfirmed", defaults.unconfirmed);
    let udp = timeout("udp", defaults.udp);
    let reuse = timeout("reuse", defaults.reuse);
    table.finish();
    Ok(Flow {
        entries: entries?.value,
        timeouts: Timeouts {
            syn: syn?,
            established: established?,
            half_closed: half_closed?,
            closing: closing?,
            unconfirmed: unconfirmed?,
            udp: udp?,
            reuse: reuse?,
        },
    })
}
