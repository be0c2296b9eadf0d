use guideway_management::kernel::Options;
use guideway_management::manager::Change;
use guideway_management::routing::{Kind, Refusal, Routing, Unreachable};

use crate::rig::Rig;
use crate::space::{in_namespace, ip, ip_attempts, until};

const A: &str = "10.0.0.1";
const B: &str = "10.1.0.1";

fn not_a_port(interface: &str) -> Unreachable {
    Unreachable::NotAPort { interface: interface.into() }
}

#[test]
fn routes_of_each_kind_are_followed() {
    in_namespace(|| {
        let rig = Rig::new(&[A, B, "192.0.2.9", "2001:db8:1::1", "198.51.100.7"]);
        rig.until_hop("192.0.2.9", 0, "192.0.2.9");
        rig.until_hop("198.51.100.7", 1, "198.51.100.7");
        rig.until_not(A, &Unreachable::NoRoute);
        for (route, port, hop) in [
            ("10.0.0.0/16 via 192.0.2.9", 0, "192.0.2.9"),
            ("10.0.0.0/16 dev edge1", 1, A),
            ("10.0.0.0/16 via 198.18.0.1 dev edge1 onlink", 1, "198.18.0.1"),
            ("10.0.0.0/16 via inet6 fe80::9 dev edge0", 0, "fe80::9"),
            (
                "10.0.0.0/16 nexthop via 198.51.100.9 dev edge1 nexthop via 192.0.2.9 dev edge0",
                1,
                "198.51.100.9",
            ),
            ("10.0.0.0/16 via 192.0.2.8", 0, "192.0.2.8"),
        ] {
            ip(&format!("route replace {route}"));
            rig.until_hop(A, port, hop);
        }
        for (kind, refusal) in [
            ("blackhole", Refusal::Blackhole),
            ("unreachable", Refusal::Unreachable),
            ("prohibit", Refusal::Prohibit),
        ] {
            ip(&format!("route replace {kind} 10.0.0.0/16"));
            rig.until_not(A, &Unreachable::Refused(refusal));
            ip(&format!("route replace {kind} 2001:db8:1::/64"));
            rig.until_not("2001:db8:1::1", &Unreachable::Refused(refusal));
            ip("route delete 2001:db8:1::/64");
        }
        ip("route delete 10.0.0.0/16");
        rig.until_not(A, &Unreachable::NoRoute);
        assert_eq!(rig.hop(B), Err(Unreachable::NoRoute), "nothing was said about it");

        ip("-6 route replace 2001:db8:1::/64 via 2001:db8::9");
        rig.until_hop("2001:db8:1::1", 0, "2001:db8::9");
        ip(
            "-6 route replace 2001:db8:1::/64 nexthop via fe80::7 dev edge1 nexthop via 2001:db8::9 dev edge0",
        );
        until("a multipath route of IPv6", || {
            let view = rig.view();
            let route = view.routes.get(&"2001:db8:1::1".parse().unwrap());
            matches!(route.map(|view| &view.route.kind), Some(Kind::Via(hops)) if hops.len() == 2)
        });

        ip("tuntap add other0 mode tap");
        ip("link set other0 up");
        ip("route replace 10.0.0.0/16 dev other0");
        until("another device", || matches!(rig.hop(A), Err(Unreachable::NotAPort { .. })));
        assert_eq!(rig.hop(A), Err(not_a_port("other0")));
        // A host route to one of this node's own addresses is none to a backend.
        ip("address add 10.1.0.1/32 dev lo");
        rig.until_not(B, &Unreachable::Own);
    });
}

#[test]
fn an_encapsulation_of_the_kernels_is_no_way() {
    in_namespace(|| {
        let rig = Rig::new(&[A]);
        ip("route add 10.0.0.0/16 encap ip id 7 dst 192.0.2.9 dev edge0");
        rig.until_not(A, &not_a_port("edge0 with an encapsulation"));
    });
}

#[test]
fn a_default_route_and_longer_ones_and_their_tables() {
    in_namespace(|| {
        let rig = Rig::new(&[A, B]);
        ip("route add default via 192.0.2.9");
        rig.until_hop(A, 0, "192.0.2.9");
        ip("route add 10.0.0.0/8 via 198.51.100.9");
        rig.until_hop(A, 1, "198.51.100.9");
        ip("route add 10.0.0.1 via 192.0.2.8 protocol 186");
        rig.until_hop(A, 0, "192.0.2.8");
        rig.until_hop(B, 1, "198.51.100.9");
        let shown = |to: &str| {
            let view = rig.view();
            let route = &view.routes[&to.parse().unwrap()].route;
            (route.prefix, route.table, route.protocol)
        };
        until("the view", || shown(A) == (32, 254, 186) && shown(B) == (8, 254, 3));
    });
}

#[test]
fn rules_choose_tables_by_destination_and_by_the_tunnels_source() {
    in_namespace(|| {
        let rig = Rig::new(&[A, "2001:db8:1::1"]);
        ip("route add default via 192.0.2.9");
        ip("route add default via 198.51.100.9 table 100");
        ip("route add default via 192.0.2.8 table 101");
        rig.until_hop(A, 0, "192.0.2.9");
        ip("rule add to 10.0.0.0/16 lookup 100");
        rig.until_hop(A, 1, "198.51.100.9");
        until("the table", || rig.view().routes[&A.parse().unwrap()].route.table == 100);
        ip("rule delete to 10.0.0.0/16 lookup 100");
        rig.until_hop(A, 0, "192.0.2.9");
        ip("rule add from 192.0.2.1 lookup 101");
        rig.until_hop(A, 0, "192.0.2.8");
        // Without the address there is no such source, and the rule does not fit.
        ip("address add 192.0.2.2/24 dev edge0");
        ip("address delete 192.0.2.1/24 dev edge0");
        ip("address replace 192.0.2.2/24 dev edge0");
        ip("route replace default via 192.0.2.9");
        rig.until_hop(A, 0, "192.0.2.9");
        ip("address add 192.0.2.1/24 dev edge0");
        ip("route replace default via 192.0.2.8 table 101");
        rig.until_hop(A, 0, "192.0.2.8");
        ip("-6 route add default via 2001:db8::9 table 102");
        ip("-6 rule add from 2001:db8::1 lookup 102");
        rig.until_hop("2001:db8:1::1", 0, "2001:db8::9");
        ip("rule add from 192.0.2.1 prohibit pref 1");
        rig.until_not(A, &Unreachable::Refused(Refusal::Prohibit));
    });
}

#[test]
fn links_take_routes_with_them() {
    in_namespace(|| {
        let rig = Rig::new(&[A]);
        ip("route add 10.0.0.0/16 via 192.0.2.9");
        ip("route add 10.0.0.0/16 via 198.51.100.9 metric 7");
        rig.until_hop(A, 0, "192.0.2.9");
        // The kernel removes the route, and says nothing about it.
        ip("link set edge0 down");
        rig.until_hop(A, 1, "198.51.100.9");
        ip("link set edge0 up");
        ip("route add 10.0.0.0/16 via 192.0.2.9");
        rig.until_hop(A, 0, "192.0.2.9");
        // Lost carrier leaves the route where it is.
        ip("route delete 10.0.0.0/16 metric 7");
        rig.peer.ip("link set peer0 down");
        rig.until_not(A, &Unreachable::LinkDown { port: 0 });
        rig.peer.ip("link set peer0 up");
        rig.until_hop(A, 0, "192.0.2.9");
        // The port's link, as its driver sees it.
        let link = |is_up| rig.manager.changes().send(Change::Link { port: 0, is_up });
        link(false).turn().wait();
        assert_eq!(rig.hop(A), Err(Unreachable::LinkDown { port: 0 }));
        link(true).turn().wait();
        assert!(rig.hop(A).is_ok());
        ip("address flush dev edge0");
        rig.until_not(A, &Unreachable::NoRoute);
        ip("address add 192.0.2.1/24 dev edge0");
        ip("route add 10.0.0.0/16 via 192.0.2.9");
        rig.until_hop(A, 0, "192.0.2.9");
    });
}

#[test]
fn of_several_hops_the_first_that_lives_is_taken() {
    in_namespace(|| {
        let rig = Rig::new(&[A]);
        ip(
            "route add 10.0.0.0/16 nexthop via 192.0.2.9 dev edge0 nexthop via 198.51.100.9 dev edge1",
        );
        rig.until_hop(A, 0, "192.0.2.9");
        rig.peer.ip("link set peer0 down");
        rig.until_hop(A, 1, "198.51.100.9");
        rig.peer.ip("link set peer0 up");
        rig.until_hop(A, 0, "192.0.2.9");
    });
}

#[test]
fn nexthop_objects_are_followed_expanded_or_not() {
    in_namespace(|| {
        let rig = Rig::new(&[A, "2001:db8:1::1"]);
        for (mode, first, second) in [("1", 1, 2), ("0", 3, 4)] {
            std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", mode).unwrap();
            ip(&format!("nexthop add id {first} via 192.0.2.9 dev edge0"));
            ip(&format!("nexthop add id {second} via 198.51.100.9 dev edge1"));
            ip(&format!("route replace 10.0.0.0/16 nhid {first}"));
            rig.until_hop(A, 0, "192.0.2.9");
            ip(&format!("nexthop replace id {first} via 192.0.2.8 dev edge0"));
            rig.until_hop(A, 0, "192.0.2.8");
            ip(&format!("route replace 10.0.0.0/16 nhid {second}"));
            rig.until_hop(A, 1, "198.51.100.9");
            ip(&format!("nexthop add id {first}0 via 2001:db8::9 dev edge0"));
            ip(&format!("-6 route replace 2001:db8:1::/64 nhid {first}0"));
            rig.until_hop("2001:db8:1::1", 0, "2001:db8::9");
            ip(&format!("nexthop delete id {second}"));
            rig.until_not(A, &Unreachable::NoRoute);
        }
        ip("nexthop add id 20 via 192.0.2.9 dev edge0");
        ip("nexthop add id 21 via 198.51.100.9 dev edge1");
        ip("nexthop add id 22 group 20/21");
        std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "1").unwrap();
        ip("route replace 10.0.0.0/16 nhid 22");
        rig.until_hop(A, 0, "192.0.2.9");
    });
}

#[test]
fn a_device_is_renamed_goes_and_comes_back() {
    in_namespace(|| {
        let rig = Rig::new(&[A]);
        ip("route add 10.0.0.0/16 via 198.51.100.9");
        rig.until_hop(A, 1, "198.51.100.9");
        ip("link set edge1 down");
        ip("link set edge1 name strange");
        ip("link set strange up");
        ip("route replace 10.0.0.0/16 via 198.51.100.9");
        rig.until_hop(A, 1, "198.51.100.9");
        let interface = || {
            let of_port = rig.view().interfaces.iter().find(|i| i.link.port == 1).cloned();
            of_port.map(|interface| (interface.name, interface.index.is_some()))
        };
        until("the new name", || interface() == Some(("strange".to_owned(), true)));
        ip("link delete strange");
        rig.until_not(A, &Unreachable::NoRoute);
        until("no device", || interface() == Some(("strange".to_owned(), false)));
        ip("tuntap add strange mode tap");
        ip("link set strange up");
        ip("address add 198.51.100.1/24 dev strange");
        ip("route add 10.0.0.0/16 via 198.51.100.9");
        until("the device is back", || interface() == Some(("strange".to_owned(), true)));
    });
}

#[test]
fn the_nodes_addresses_are_known_with_their_devices() {
    in_namespace(|| {
        let rig = Rig::new(&[A]);
        ip("address add 203.0.113.1/32 dev lo");
        let local = || {
            let published = rig.manager.published().load();
            let of = published.routing.local().iter();
            of.map(|own| {
                (own.network.to_string(), own.interface.to_string(), own.link.map(|link| link.port))
            })
            .collect::<Vec<_>>()
        };
        let loopback = ("203.0.113.1/32".to_owned(), "lo".to_owned(), None);
        until("the loopback's address", || local().contains(&loopback));
        assert!(local().contains(&("198.51.100.1/24".to_owned(), "edge1".to_owned(), Some(1))));
        assert!(local().contains(&("2001:db8::1/64".to_owned(), "edge0".to_owned(), Some(0))));
        ip("address delete 203.0.113.1/32 dev lo");
        until("it is gone", || !local().contains(&loopback));
    });
}

/// The peer has the address already (RFC 4862 section 5.4.3). The kernel keeps the address, marked, and does not use it.
#[test]
fn an_address_that_another_host_has_is_not_the_nodes() {
    in_namespace(|| {
        let rig = Rig::new(&["192.0.2.10"]);
        let is_local = |address: &str| {
            let published = rig.manager.published().load();
            published.routing.local().iter().any(|local| local.network.to_string() == address)
        };
        ip("address add 2001:db8::8/64 dev edge0");
        ip("address add 2001:db8::9/64 dev edge0");
        until("the address of nobody else", || is_local("2001:db8::8/64"));
        until("the detection", || ip("address show dev edge0").contains("dadfailed"));
        until("the address is given up", || !is_local("2001:db8::9/64"));
        assert!(is_local("2001:db8::8/64"));
    });
}

#[test]
fn another_configuration_has_other_destinations() {
    in_namespace(|| {
        let rig = Rig::new(&[A]);
        ip("route add 10.0.0.0/8 via 192.0.2.9");
        rig.until_hop(A, 0, "192.0.2.9");
        rig.configure(&[B]);
        let took = rig.until_hop(B, 0, "192.0.2.9");
        eprintln!("a new backend has its route after {took:?}");
        assert_eq!(rig.manager.published().load().routing.routes().count(), 1);
    });
}

/// Numbers without a pattern, the same in each run: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % end
    }

    fn of(&mut self, choices: &[&'static str]) -> &'static str {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// A command that changes something, or is refused.
fn any_command(random: &mut Random) -> String {
    let table = random.of(&["", "", " table 100", " table 101"]);
    let v4 = ["10.0.0.0/16", "10.0.0.0/8", "10.1.0.1", "default", "10.0.0.0/31", "192.0.2.128/25"];
    let v6 = ["2001:db8:1::/64", "default", "2001:db8:1::1"];
    let to_v4 = [
        "via 192.0.2.9",
        "via 198.51.100.9",
        "dev edge0",
        "via 198.18.0.1 dev edge1 onlink",
        "via inet6 2001:db8::9 dev edge0",
        "dev other0",
        "nhid 1",
        "nhid 2",
        "nexthop via 192.0.2.9 dev edge0 nexthop via 198.51.100.9 dev edge1",
    ];
    let to_v6 = ["via 2001:db8::9", "dev edge1", "via fe80::9 dev edge0", "dev other0"];
    let device = random.of(&["edge0", "edge1", "other0"]);
    match random.below(16) {
        0..5 => format!("route replace {} {}{table}", random.of(&v4), random.of(&to_v4)),
        5 => format!("route delete {}{table}", random.of(&v4)),
        6 | 7 => format!("-6 route replace {} {}{table}", random.of(&v6), random.of(&to_v6)),
        8 => format!("-6 route delete {}{table}", random.of(&v6)),
        9 => format!(
            "route replace {} {}",
            random.of(&["blackhole", "prohibit", "unreachable"]),
            random.of(&v4)
        ),
        10 => format!(
            "rule {} {} lookup {}",
            random.of(&["add", "delete", "delete"]),
            random.of(&["to 10.0.0.0/16", "from 192.0.2.1", "to 10.1.0.0/16"]),
            random.of(&["100", "101"]),
        ),
        11 => format!("link set {device} {}", random.of(&["down", "up", "up"])),
        12 => format!("link set {device} carrier {}", random.of(&["on", "off"])),
        13 => format!(
            "address {} {} dev {}",
            random.of(&["add", "delete"]),
            random.of(&["192.0.2.1/24", "198.51.100.1/24", "198.18.0.1/24", "10.1.0.1/32"]),
            random.of(&["edge0", "edge1", "lo"]),
        ),
        14 => format!(
            "nexthop replace id {} {}",
            random.of(&["1", "2"]),
            random.of(&["via 192.0.2.9 dev edge0", "via 198.51.100.9 dev edge1", "blackhole"]),
        ),
        _ => format!("nexthop delete id {}", random.of(&["1", "2"])),
    }
}

#[test]
fn what_is_followed_is_what_is_read_read_anew() {
    in_namespace(|| {
        let backends =
            [A, "10.0.0.2", B, "10.2.0.1", "192.0.2.200", "2001:db8:1::1", "2001:db8:2::1"];
        let backends = backends.map(str::to_owned);
        let rig = Rig::with(&backends, Options::default());
        ip("tuntap add other0 mode tap");
        let mut random = Random(7);
        let (mut reached, mut refused) = (0, 0);
        for round in 0..40 {
            let commands: Vec<String> =
                (0..=random.below(12)).map(|_| any_command(&mut random)).collect();
            ip_attempts(&(commands.join("\n") + "\n"));
            let whole = rig.read_anew(&backends);
            let way = |routing: &Routing, to: &String| {
                let way = routing.way(to.parse().unwrap());
                way.map(|hop| (hop.port, hop.vlan, hop.address))
            };
            until(&format!("round {round}: {commands:?}"), || {
                let followed = rig.manager.published().load().routing.clone();
                let is_same = |to| way(&followed, to) == way(&whole, to);
                backends.iter().all(is_same) && followed.local() == whole.local()
            });
            reached += backends.iter().filter(|to| way(&whole, to).is_ok()).count();
            refused += backends.iter().filter(|to| way(&whole, to).is_err()).count();
        }
        assert!(reached > 50 && refused > 50, "{reached} reached, {refused} not");
    });
}
