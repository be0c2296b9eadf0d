//! `[flow]`: the flow tables and their timeouts.

use std::time::Duration;

use crate::declare::section;
use crate::kind::{Time, power_of_two, seconds};

fn timeout() -> Time {
    seconds(1..=86_400)
}

section! {
    /// The flow tables.
    "[flow]" 0..=1 => Flow, FlowDraft {
        /// Entries of each worker's flow table. An entry takes 20 bytes.
        entries: usize = power_of_two(4..=1 << 28), default "1048576", restart, unit "flows";
        table timeouts ("timeout"): Timeouts, TimeoutsDraft;
    }
}

section! {
    /// Idle times after which a flow is forgotten, all but `reuse`.
    ///
    /// [What ends a flow](operations.md#flow-timeouts) has the rules and the reasons for the defaults.
    #[derive(Copy)]
    "[flow.timeout]" 0..=1 => Timeouts, TimeoutsDraft {
        /// A TCP flow whose SYN was seen, and nothing after it.
        syn: Duration = timeout(), default "60", reload, unit "seconds";
        /// A TCP flow after its SYN.
        established: Duration = timeout(), default "900", reload, unit "seconds";
        /// A TCP flow whose client sent a FIN and still sends acknowledgements a second or more after
        /// it.
        half_closed: Duration = timeout(), default "900", reload, unit "seconds";
        /// A TCP flow after a FIN or RST, without a sign that it goes on: at most `established`.
        closing: Duration = timeout(), default "240", reload, unit "seconds";
        /// A flow that began without a SYN, UDP included, and had no packet a second or more after its
        /// first.
        unconfirmed: Duration = timeout(), default "60", reload, unit "seconds";
        /// A UDP flow.
        udp: Duration = timeout(), default "60", reload, unit "seconds";
        /// How long a flow must have been idle for a SYN to move it, if its backend takes no new flows:
        /// the client then uses its port again.
        reuse: Duration = timeout(), default "240", reload, unit "seconds";
    }
}
