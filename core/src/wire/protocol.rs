//! IP protocol numbers (IANA). IPv4's protocol field and IPv6's next header use the same ones.

/// ICMP, RFC 792
pub const ICMP: u8 = 1;
/// IPv4 in IP, RFC 2003
pub const IPV4: u8 = 4;
/// TCP, RFC 9293
pub const TCP: u8 = 6;
/// UDP, RFC 768
pub const UDP: u8 = 17;
/// IPv6 in IP, RFC 2473
pub const IPV6: u8 = 41;
/// GRE, RFC 2784
pub const GRE: u8 = 47;
/// Encapsulating security payload, RFC 4303
pub const ESP: u8 = 50;
/// ICMPv6, RFC 4443
pub const ICMPV6: u8 = 58;
/// OSPF, RFC 2328
pub const OSPF: u8 = 89;
/// VRRP, RFC 9568
pub const VRRP: u8 = 112;
