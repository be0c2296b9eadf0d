//! `[icmp]`: limits on ICMP replies and RSTs.

use crate::declare::section;
use crate::kind::integer;

/// Replies per second of one worker: more than a million is no limit.
const MAX_REPLIES: i64 = 1_000_000;

section! {
    /// How many replies each worker sends. Echo replies, refusals and other errors have a limit each, so that
    /// neither pings nor floods displace reports of path MTUs. A refusal is a RST or an ICMP "port unreachable".
    #[derive(Copy)]
    "[icmp]" 0..=1 => Icmp, IcmpDraft {
        /// How many replies of each of the three kinds each worker sends in a second; 0 sends none. The rest
        /// counts as `reply_limited`.
        rate: u32 = integer(0..=MAX_REPLIES), default "1000", reload, unit "per second";
        /// How many of each kind may be sent at once after a quiet time.
        burst: u32 = integer(1..=MAX_REPLIES), default "100", reload;
    }
}
