//! The protocol's facts as words for people, for cells of tables.

use guideway_api::NextHop;

pub(super) fn next_hop(next_hop: &NextHop) -> String {
    match next_hop {
        NextHop::Resolved { address, mac, .. } => format!("{address} at {mac}"),
        NextHop::NoMac { address, .. } => format!("{address} (no neighbor)"),
        NextHop::NoRoute => "no route".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops() {
        let (port, address) = ("edge0".to_owned(), "192.0.2.254".parse().unwrap());
        let mac = "02:00:00:00:00:fe".to_owned();
        let resolved = NextHop::Resolved { port: port.clone(), address, mac };
        assert_eq!(next_hop(&resolved), "192.0.2.254 at 02:00:00:00:00:fe");
        assert_eq!(next_hop(&NextHop::NoMac { port, address }), "192.0.2.254 (no neighbor)");
        assert_eq!(next_hop(&NextHop::NoRoute), "no route");
    }
}
