//! What kind of packet a frame holds: its IP version, and whether it is whole.

/// The IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// Which part of a packet a frame holds, in the order in which a nested fragment header overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fragment {
    /// All of it. An IPv6 atomic fragment (RFC 6946) is whole.
    Whole,
    /// The first part, with the transport header.
    First,
    /// Another part, without a transport header.
    Later,
}
