//! What the requests about announcements may not say, whatever the configuration is.
//!
//! A refusal quotes only what has a bounded length: an address or a position, never a client's text.

use std::net::IpAddr;

use guideway_api::{MAX_CHANGES, VipOrder};

/// Peers that a request may name. A node has far fewer.
const MAX_PEERS: usize = 64;
/// Bytes of a peer's name, as in the configuration.
const MAX_NAME: usize = 63;

/// Refuses addresses and next hops that nobody can announce.
pub(super) fn check_vips(
    addresses: &[IpAddr],
    order: VipOrder,
    next_hops: &[IpAddr],
) -> Result<(), String> {
    if !(1..=MAX_CHANGES).contains(&addresses.len()) {
        return Err(format!(
            "`addresses` must have 1 to {MAX_CHANGES} elements; send more in several requests"
        ));
    }
    check_addresses("addresses", addresses)?;
    if !next_hops.is_empty() && order != VipOrder::Announce {
        return Err(format!(
            "`next_hops` are for the order announce only, not for {}",
            order.name()
        ));
    }
    let of = |is_ipv4| next_hops.iter().filter(|it| it.is_ipv4() == is_ipv4).count();
    if of(true) > 1 || of(false) > 1 {
        return Err("`next_hops` may have one address of each family".to_owned());
    }
    check_addresses("next_hops", next_hops)
}

fn check_addresses(field: &str, addresses: &[IpAddr]) -> Result<(), String> {
    for (n, address) in addresses.iter().enumerate() {
        if let Some(kind) = kind_of_unusable(*address) {
            return Err(format!(
                "`{field}[{n}]` is {address}, {kind}; it must be a unicast address that routers can route"
            ));
        }
    }
    Ok(())
}

/// What an address is that is no route's destination and no next hop of a BGP session.
fn kind_of_unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            [0, ..] => Some("of this network (0.0.0.0/8)"),
            [127, ..] => Some("a loopback address"),
            [169, 254, ..] => Some("a link-local address"),
            [224..=239, ..] => Some("a multicast address"),
            [240..=255, ..] => Some("reserved (240.0.0.0/4)"),
            _ => None,
        },
        IpAddr::V6(v6) => {
            if v6.is_unspecified() {
                Some("the unspecified address")
            } else if v6.is_loopback() {
                Some("a loopback address")
            } else if v6.is_multicast() {
                Some("a multicast address")
            } else if v6.is_unicast_link_local() {
                Some("a link-local address")
            } else if v6.to_ipv4_mapped().is_some() {
                Some("an IPv4 address written as an IPv6 one")
            } else {
                None
            }
        }
    }
}

/// Refuses names that no peer can have.
pub(super) fn check_peers(peers: &[String]) -> Result<(), String> {
    if peers.len() > MAX_PEERS {
        return Err(format!("`peers` has at most {MAX_PEERS} elements"));
    }
    match peers.iter().position(|peer| !is_name(peer)) {
        Some(n) => Err(no_name(&format!("peers[{n}]"))),
        None => Ok(()),
    }
}

/// Refuses a name that no peer can have.
pub(super) fn check_peer(peer: &str) -> Result<(), String> {
    if is_name(peer) { Ok(()) } else { Err(no_name("peer")) }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain)
}

fn no_name(field: &str) -> String {
    format!("`{field}` is no name of a peer: 1 to {MAX_NAME} letters, digits, `.`, `_` and `-`")
}

#[cfg(test)]
mod tests {
    use guideway_api::{ErrorKind, MAX_REASON, Request};

    use super::*;
    use crate::server::parse_request;

    #[track_caller]
    fn refused(line: &str, words: &str) {
        let error = parse_request(line.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest, "{error:?}");
        assert!(error.message.contains(words), "{words}: {}", error.message);
    }

    fn vip_set(addresses: &str, more: &str) -> String {
        format!(r#"{{"request":"vip_set","addresses":[{addresses}]{more}}}"#)
    }

    #[test]
    fn orders_for_addresses_make_sense() {
        let one = r#""203.0.113.10""#;
        let hops = |order: &str, hops: &str| {
            vip_set(one, &format!(r#","order":"{order}","next_hops":[{hops}]"#))
        };
        let reason = |length| {
            vip_set(one, &format!(r#","order":"drain","reason":"{}""#, "x".repeat(length)))
        };
        for line in [
            vip_set(one, r#","order":"withdraw""#),
            // A list may name an address twice.
            vip_set(&format!("{one},{one}"), r#","order":"undrain""#),
            vip_set(r#""2001:db8::1","10.0.0.1","fd00::1""#, r#","order":"announce""#),
            vip_set(&vec![one; MAX_CHANGES].join(","), r#","order":"drain""#),
            hops("announce", r#""192.0.2.1","2001:db8::1""#),
            hops("withdraw", ""),
            reason(MAX_REASON),
        ] {
            parse_request(line.as_bytes()).unwrap();
        }
        let drain = r#","order":"drain""#;
        for (line, words) in [
            (vip_set("", drain), "`addresses` must have 1 to 65535"),
            (vip_set(&vec![one; MAX_CHANGES + 1].join(","), drain), "`addresses` must have 1 to"),
            (vip_set(one, ""), "missing field `order`"),
            (vip_set(one, r#","order":"stop""#), "unknown variant `stop`"),
            (vip_set(r#""203.0.113.0/24""#, drain), "invalid IP address"),
            (vip_set(one, r#","order":"drain","all":true"#), "unknown field `all`"),
            (hops("drain", one), "`next_hops` are for the order announce only, not for drain"),
            (hops("announce", r#""192.0.2.1","192.0.2.2""#), "one address of each family"),
            (hops("announce", r#""fd00::1","fd00::1""#), "one address of each family"),
            (hops("announce", r#""fe80::1""#), "`next_hops[0]` is fe80::1, a link-local"),
            (reason(0), "`reason` has 1 to 255"),
            (reason(MAX_REASON + 1), "`reason` has 1 to 255"),
        ] {
            refused(&line, words);
        }
    }

    #[test]
    fn what_no_router_routes_is_refused() {
        for (address, words) in [
            ("0.0.0.0", "this network"),
            ("0.1.2.3", "this network"),
            ("127.0.0.53", "loopback"),
            ("169.254.1.1", "link-local"),
            ("224.0.0.5", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("ff02::1", "multicast"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("::ffff:192.0.2.1", "written as an IPv6 one"),
        ] {
            let addresses = format!(r#""203.0.113.10","{address}""#);
            let line = vip_set(&addresses, r#","order":"announce""#);
            refused(&line, words);
            refused(&line, "`addresses[1]` is ");
        }
        // The neighbours of those ranges.
        for address in
            ["1.0.0.0", "126.255.255.255", "128.0.0.1", "169.253.0.1", "223.255.255.255", "fec0::1"]
        {
            assert_eq!(kind_of_unusable(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn names_of_peers_are_those_of_the_configuration() {
        let orders = |peers: &str| {
            [
                vip_set(r#""203.0.113.10""#, &format!(r#","order":"drain","peers":[{peers}]"#)),
                format!(r#"{{"request":"node_set","order":"drain","peers":[{peers}]}}"#),
            ]
        };
        let long = "p".repeat(MAX_NAME + 1);
        let fits = format!(r#""{}""#, &long[1..]);
        let many = vec![r#""tor1""#; MAX_PEERS].join(",");
        for peers in [r#""tor1","Rack-7_a.b""#, &fits, &many] {
            for line in orders(peers) {
                parse_request(line.as_bytes()).unwrap();
            }
        }
        for (peers, words) in [
            (r#""""#, "`peers[0]` is no name"),
            (r#""tor1","tor 2""#, "`peers[1]` is no name"),
            (r#""tor\n""#, "`peers[0]` is no name"),
            (r#""é""#, "`peers[0]` is no name"),
            (&format!(r#""{long}""#), "`peers[0]` is no name"),
            (&format!(r#"{many},"tor1""#), "`peers` has at most 64"),
        ] {
            for line in orders(peers) {
                refused(&line, words);
                assert!(!parse_request(line.as_bytes()).unwrap_err().message.contains(&long));
            }
        }
        let show = Request::BgpShow { peer: "tor1".into() };
        assert_eq!(parse_request(br#"{"request":"bgp_show","peer":"tor1"}"#), Ok(show));
        refused(r#"{"request":"bgp_show","peer":"tor1 all; down"}"#, "`peer` is no name");
    }

    #[test]
    fn a_nodes_order_has_no_addresses() {
        parse_request(br#"{"request":"node_set","order":"undrain"}"#).unwrap();
        refused(r#"{"request":"node_set","order":"withdraw"}"#, "unknown variant `withdraw`");
        refused(r#"{"request":"node_set","order":"drain","addresses":[]}"#, "unknown field");
        refused(r#"{"request":"node_set","order":"drain","reason":"a\nb"}"#, "control characters");
    }
}
