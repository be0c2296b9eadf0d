//! The file of the orders, `orders.json`: JSON for one run of the controller and the next. A controller that finds another
//! [`VERSION`] does not read the file.

use guideway_chassis::store::Stored;
use serde::{Deserialize, Serialize};

use super::order::Orders;

/// The version of the format.
const VERSION: u32 = 1;

/// Addresses with orders at the most, far beyond what a node has.
const MOST: usize = 1 << 20;

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
        match orders.vips.len() {
            0..=MOST => Ok(orders),
            more => Err(format!("it has orders for {more} addresses; there can be {MOST}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use guideway_api::{NodeOrder, VipOrder};
    use guideway_chassis::wall::Wall;
    use proptest::prelude::*;

    use super::*;
    use crate::announce::Change;

    #[test]
    fn the_format_is_as_it_was() {
        let mut orders = Orders::default();
        let peers = ["tor1".to_owned()];
        let next_hops = ["192.0.2.9".parse().unwrap()];
        let change =
            |order, peers, next_hops| Change { order, peers, next_hops, reason: Some("why") };
        let (web, dns) = ("203.0.113.10".parse().unwrap(), "2001:db8::53".parse().unwrap());
        orders.set(web, false, &change(VipOrder::Announce, &peers, &next_hops), Wall(7));
        orders.set(dns, true, &change(VipOrder::Drain, &[], &[]), Wall(8));
        orders.set_node(NodeOrder::Drain, &peers, None, Wall(9));
        let file = concat!(
            r#"{"version":1,"orders":{"node":{"peers":{"tor1":{"since":9}}},"vips":{"#,
            r#""203.0.113.10":{"registered":{"since":7,"reason":"why"},"only":["tor1"],"#,
            r#""next_hops_of":{"tor1":["192.0.2.9"]}},"#,
            r#""2001:db8::53":{"drained":{"all":{"since":8,"reason":"why"}}}}}}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(orders.encode()).unwrap(), file);
        assert_eq!(Orders::decode(file.as_bytes()), Ok(orders));
    }

    #[test]
    fn another_format_is_not_read() {
        for (file, words) in [
            ("", "EOF"),
            ("{}", "missing field `version`"),
            (r#"{"version":2,"anything":1}"#, "format 2"),
            (r#"{"version":1}"#, "missing field `orders`"),
            (r#"{"version":1,"orders":{"vips":{"here":{}}}}"#, "invalid IP address"),
            (r#"{"version":1,"orders":{"vips":{},"more":1}}"#, "unknown field `more`"),
        ] {
            let error = Orders::decode(file.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{file}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(file in proptest::collection::vec(any::<u8>(), 0..200)) {
            _ = Orders::decode(&file);
        }
    }
}
