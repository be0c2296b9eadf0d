//! Which frames a port accepts.

use crate::wire::plain::HeaderMatch;

/// What a port accepts.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// The address that frames must have; none takes any.
    pub mac: Option<[u8; 6]>,
}

/// The same, as the fast path compares it: how the frames begin that it reads.
#[derive(Clone, Copy, Debug)]
pub struct FrameFilter {
    pub(super) v4: HeaderMatch,
    pub(super) v6: HeaderMatch,
}

impl FrameFilter {
    /// Takes frames for any address.
    pub(super) const ANY: FrameFilter = FrameFilter { v4: HeaderMatch::V4, v6: HeaderMatch::V6 };

    pub(super) fn new(port: &Port) -> FrameFilter {
        port.mac.map_or(FrameFilter::ANY, |mac| FrameFilter {
            v4: HeaderMatch::V4.with_mac(mac),
            v6: HeaderMatch::V6.with_mac(mac),
        })
    }
}
