//! The argument of DPDK's bonding driver for the devices that it bonds: `member` as of DPDK 23.11,
//! `slave` before. Everywhere else Guideway calls them members.

use dpdk_sys as sys;

/// Returns a device with its arguments as the linked DPDK spells them.
pub fn spelled(device: &str) -> String {
    let own = sys::GUIDEWAY_BOND_MEMBER.to_string_lossy();
    if device.starts_with("net_bonding") {
        device.replace(",member=", &format!(",{own}="))
    } else {
        device.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use crate::dpdk::testing::{eal, pool, settings, unique};

    /// A bond without members has no link, so this test notices arguments that the driver misreads.
    #[test]
    fn a_bond_of_two_members_starts() {
        let members = [unique("net_null"), unique("net_null")];
        for member in &members {
            eal().probe(member).unwrap();
        }
        let [one, other] = members;
        let bond = format!("{},mode=1,member={one},member={other}", unique("net_bonding"));
        eal().probe(&bond).unwrap();
        let port = eal().port_by_name(&bond).unwrap();
        assert_eq!(port.capabilities().unwrap().driver, "net_bonding");
        let (port, _) = port.configure(&settings(), &pool(2048)).unwrap();
        let (port, ..) = port.start().unwrap();
        // The driver polls its members' links from time to time.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !port.link().up {
            assert!(Instant::now() < deadline, "no member's link comes up");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
