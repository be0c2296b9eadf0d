//! Which frames a port accepts: those for its own MAC address, or any.

use crate::wire::plain::HeaderMatch;

/// Which frames a port accepts, for the full path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Port {
    /// The destination that frames must have; `None` accepts any.
    pub mac: Option<[u8; 6]>,
}

/// Which frames of a port the fast path reads: how their first 16 bytes must look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameFilter {
    pub(super) v4: HeaderMatch,
    pub(super) v6: HeaderMatch,
    /// Frames that may have tags.
    pub(super) any: HeaderMatch,
}

impl FrameFilter {
    /// Accepts frames for any MAC address.
    pub(super) const ANY: FrameFilter =
        FrameFilter { v4: HeaderMatch::V4, v6: HeaderMatch::V6, any: HeaderMatch::ANY };

    /// The filter of a port.
    pub(super) fn new(port: &Port) -> FrameFilter {
        port.mac.map_or(FrameFilter::ANY, |mac| FrameFilter {
            v4: HeaderMatch::V4.with_mac(mac),
            v6: HeaderMatch::V6.with_mac(mac),
            any: HeaderMatch::ANY.with_mac(mac),
        })
    }
}
