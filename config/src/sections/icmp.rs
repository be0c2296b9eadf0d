//! `[icmp]`: limits on ICMP replies.

use crate::declare::section;
use crate::kind::integer;

/// Replies per second of one worker: more than a million is no limit.
const MAX_REPLIES: i64 = 1_000_000;

section! {
    /// How many ICMP replies each worker sends. Echo replies and errors have a limit each, so that
    /// pings do not displace reports of path MTUs.
    #[derive(Copy)]
    "[icmp]" 0..=1 => Icmp, IcmpDraft {
        /// How many echo replies, and as many errors again, each worker sends in a second; 0 sends
        /// none. The rest counts as `reply_limited`.
        rate: u32 = integer(0..=MAX_REPLIES), default "1000", reload, unit "per second";
        /// How many of either may be sent at once after a quiet time.
        burst: u32 = integer(1..=MAX_REPLIES), default "100", reload;
    }
}
