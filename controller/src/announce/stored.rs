//! The file of the orders, `orders.json`: JSON for one run of the controller and the next. A controller that finds another
//! [`VERSION`] does not read the file.

use guideway_api::MAX_REASON;
use guideway_chassis::store::Stored;
use serde::{Deserialize, Serialize};

use super::order::{Mark, Marks, Orders, VipOrders};

/// The version of the format.
const VERSION: u32 = 1;

/// Bytes of the longest name of a peer that a request can have.
const LONGEST_NAME: usize = 63;

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    orders: &'a Orders,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "version")]
    _version: u32,
    orders: Orders,
}

impl Stored for Orders {
    const FILE: &'static str = "orders.json";
    const SETTING: &'static str = "--state-directory";

    fn is_same(&self, other: &Orders) -> bool {
        self == other
    }

    fn encode(&self) -> Vec<u8> {
        let written = Written { version: VERSION, orders: self };
        let mut file = serde_json::to_vec(&written).expect("addresses, names, numbers and texts");
        file.push(b'\n');
        file
    }

    fn decode(file: &[u8]) -> Result<Orders, String> {
        let head: Head = serde_json::from_slice(file).map_err(|error| error.to_string())?;
        if head.version != VERSION {
            return Err(format!(
                "it has format {}, and this release reads {VERSION}",
                head.version
            ));
        }
        let Read { orders, .. } =
            serde_json::from_slice(file).map_err(|error| error.to_string())?;
        check(&orders)?;
        Ok(orders)
    }
}

/// Refuses what no order can have left: somebody has edited the file, or a disk has changed it.
fn check(orders: &Orders) -> Result<(), String> {
    orders.check_number().map_err(|error| error.message)?;
    check_marks(&orders.node).map_err(|mistake| format!("of the node, {mistake}"))?;
    for (address, vip) in &orders.vips {
        check_vip(vip).map_err(|mistake| format!("of {address}, {mistake}"))?;
    }
    Ok(())
}

fn check_vip(vip: &VipOrders) -> Result<(), String> {
    vip.registered.iter().try_for_each(check_mark)?;
    check_marks(&vip.withdrawn)?;
    check_marks(&vip.drained)?;
    let names = vip.only.iter().flatten().chain(vip.next_hops_of.keys());
    { names }.try_for_each(|name| check_name(name))?;
    for next_hops in vip.next_hops_of.values().chain([&vip.next_hops]) {
        let of = |is_ipv4| next_hops.iter().filter(|hop| hop.is_ipv4() == is_ipv4).count();
        if of(true) > 1 || of(false) > 1 {
            return Err("there are several next hops of one family".to_owned());
        }
        if let Some(wrong) = next_hops.iter().find(|it| it.is_unspecified() || it.is_multicast()) {
            return Err(format!("{wrong} is no next hop"));
        }
    }
    Ok(())
}

fn check_marks(marks: &Marks) -> Result<(), String> {
    marks.peers.keys().try_for_each(|name| check_name(name))?;
    marks.all.iter().chain(marks.peers.values()).try_for_each(check_mark)
}

fn check_mark(mark: &Mark) -> Result<(), String> {
    match &mark.reason {
        Some(reason) if reason.len() > MAX_REASON || reason.chars().any(char::is_control) => {
            Err("a reason is too long, or has control characters".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_plain) {
        true => Ok(()),
        false => Err("a peer's name is none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv6Addr};

    use guideway_api::{NodeOrder, VipOrder};
    use guideway_chassis::store::LARGEST;
    use guideway_chassis::wall::Wall;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::announce::Change;
    use crate::announce::order::{MOST, MOST_FOR_PEERS};

    fn orders() -> Orders {
        let mut orders = Orders::default();
        let peers = ["tor1".to_owned()];
        let next_hops = ["192.0.2.9".parse().unwrap()];
        let change =
            |order, peers, next_hops| Change { order, peers, next_hops, reason: Some("why") };
        let (web, dns) = ("203.0.113.10".parse().unwrap(), "2001:db8::53".parse().unwrap());
        orders.set(web, false, &change(VipOrder::Announce, &peers, &next_hops), Wall(7));
        orders.set(dns, true, &change(VipOrder::Drain, &[], &[]), Wall(8));
        orders.set_node(NodeOrder::Drain, &peers, None, Wall(9));
        orders
    }

    /// An upgrade must not forget orders.
    #[test]
    fn the_format_is_as_it_was() {
        let file = concat!(
            r#"{"version":1,"orders":{"node":{"peers":{"tor1":{"since":9}}},"vips":{"#,
            r#""203.0.113.10":{"registered":{"since":7,"reason":"why"},"only":["tor1"],"#,
            r#""next_hops_of":{"tor1":["192.0.2.9"]}},"#,
            r#""2001:db8::53":{"drained":{"all":{"since":8,"reason":"why"}}}}}}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(orders().encode()).unwrap(), file);
        assert_eq!(Orders::decode(file.as_bytes()), Ok(orders()));
        let empty = Orders::default();
        assert_eq!(Orders::decode(&empty.encode()), Ok(empty));
    }

    #[test]
    fn what_no_order_leaves_is_not_read() {
        let vip = |orders: &str| {
            format!(r#"{{"version":1,"orders":{{"vips":{{"203.0.113.10":{orders}}}}}}}"#)
        };
        assert!(Orders::decode(vip("{}").as_bytes()).is_ok());
        let long = "x".repeat(MAX_REASON + 1);
        for (file, words) in [
            (String::new(), "EOF"),
            ("\0".repeat(4096), "expected value"),
            ("[".repeat(100_000), "invalid type"),
            ("{}".to_owned(), "missing field `version`"),
            (r#"{"version":2,"anything":1}"#.to_owned(), "format 2"),
            (r#"{"version":1}"#.to_owned(), "missing field `orders`"),
            (vip("{}}").to_owned(), "trailing characters"),
            (vip(r#"{"more":1}"#), "unknown field `more`"),
            (vip("{}").replace("203.0.113.10", "here"), "invalid IP address"),
            (vip(r#"{},"203.0.113.10":{}"#), "203.0.113.10 is there twice"),
            (vip(r#"{},"::1":{},"0:0::1":{}"#), "::1 is there twice"),
            (vip(r#"{"drained":{"all":{"since":-1}}}"#), "invalid value"),
            (vip(r#"{"drained":{"peers":{"tor 1":{"since":1}}}}"#), "a peer's name is none"),
            (vip(r#"{"only":[""]}"#), "a peer's name is none"),
            (vip(r#"{"next_hops_of":{"\u0000":[]}}"#), "a peer's name is none"),
            (vip(r#"{"next_hops":["192.0.2.1","192.0.2.2"]}"#), "several next hops"),
            (vip(r#"{"next_hops_of":{"a":["::"]}}"#), "203.0.113.10, :: is no next hop"),
            (vip(r#"{"registered":{"since":1,"reason":"a\nb"}}"#), "has control characters"),
            (
                vip(&format!(r#"{{"withdrawn":{{"all":{{"since":1,"reason":"{long}"}}}}}}"#)),
                "too long",
            ),
        ] {
            let error = Orders::decode(file.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{:.200}: {error}", file);
        }
    }

    #[test]
    fn orders_for_every_address_are_stored() {
        let address = |number: usize| IpAddr::from(Ipv6Addr::from_bits(u128::MAX - number as u128));
        let mut orders = Orders::default();
        let mark = Mark { since: 1, reason: None };
        for number in 0..=MOST {
            orders.vips.entry(address(number)).or_default().registered = Some(mark.clone());
        }
        let error = Orders::decode(&orders.encode()).unwrap_err();
        assert_eq!(error, "there would be orders for more than 65535 addresses");
        orders.vips.pop_first();
        assert_eq!(Orders::decode(&orders.encode()).as_ref(), Ok(&orders));

        // The longest orders for so many addresses and peers make a file that is read.
        let mark = Mark { since: u64::MAX, reason: Some("\"".repeat(MAX_REASON)) };
        let size = |addresses: usize, peers: usize| {
            let mut orders = Orders::default();
            for number in 0..addresses {
                let vip = orders.vips.entry(address(number)).or_default();
                let marks = || Marks { all: Some(mark.clone()), peers: BTreeMap::new() };
                (vip.withdrawn, vip.drained) = (marks(), marks());
                vip.registered = Some(mark.clone());
                vip.next_hops = vec![address(MOST), [192, 168, 100, 100].into()];
            }
            for peer in 0..peers {
                orders.node.peers.insert(format!("{peer:063}"), mark.clone());
            }
            orders.encode().len()
        };
        let of_address = (size(101, 0) - size(1, 0)).div_ceil(100);
        let of_peer = (size(0, 101) - size(0, 1)).div_ceil(100);
        let largest = size(0, 0) + of_address * MOST + of_peer * MOST_FOR_PEERS;
        assert!((largest as u64) < LARGEST, "{largest}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(file in proptest::collection::vec(any::<u8>(), 0..200)) {
            _ = Orders::decode(&file);
        }

        /// Somebody has edited the file, or a disk has changed it.
        #[test]
        fn no_file_is_read_in_two_ways(changes in proptest::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4)) {
            let mut file = orders().encode();
            for (at, byte, change) in changes {
                let at = at.index(file.len());
                match change {
                    0 => drop(file.remove(at)),
                    1 => file.insert(at, b"0129\"{},:[]ae "[usize::from(byte % 14)]),
                    _ => file[at] ^= 1 << (byte % 8),
                }
            }
            if let Ok(orders) = Orders::decode(&file) {
                prop_assert_eq!(Orders::decode(&orders.encode()), Ok(orders));
            }
        }
    }
}
