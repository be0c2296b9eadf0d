//! Listings of the kernel's side: what the configuration says, and what a kernel would.

use std::time::SystemTime;

use super::*;
use crate::kernel::{Interface, Neighbor, NeighborState, RouteView, View};
use crate::manager::Change;
use crate::routing::{Batch, Hop, Kind, Link, Refusal, Route, Unreachable};

/// Two pools with a backend of one name, a gateway, a neighbour in no network, and a cluster.
fn network() -> String {
    let more = "[cluster]\nmembers = [\"192.0.2.1\", \"192.0.2.40\"]\n\
                [[pool]]\nname = \"mail\"\nbackends = [\n\
                { name = \"a\", address = \"10.0.0.5\" }, { name = \"x\", address = \"10.0.0.6\" },\n\
                { name = \"y\", address = \"10.0.0.7\" } ]\n\
                [[neighbor]]\naddress = \"10.0.0.6\"\nmac = \"02:00:00:00:00:66\"\n\
                [[service]]\nname = \"mail\"\naddress = \"203.0.113.10\"\nprotocol = \"tcp\"\n\
                port = 25\npool = \"mail\"\n";
    let gateway = "addresses = [\"192.0.2.1/24\"]\ngateways = [\"192.0.2.254\"]";
    text(THREE).replace("addresses = [\"192.0.2.1/24\"]", gateway) + more
}

fn lab() -> Lab {
    let lab = Lab::new();
    lab.applied(&network());
    lab
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Lab {
    fn route(&self, backend: &str, pool: Option<&str>) -> Response {
        let (backend, pool) = (backend.to_owned(), pool.map(String::from));
        self.daemon.handle(Request::RouteShow { backend, pool })
    }

    #[track_caller]
    fn found(&self, backend: &str, pool: Option<&str>) -> api::Route {
        match self.route(backend, pool) {
            Response::Route(route) => route,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_route_is_found_by_name_or_by_address() {
    let lab = lab();
    let names = |route: &api::Route| {
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        (name(&route.pool), name(&route.backend), route.destination)
    };
    let of = |pool: &str, backend: &str, address| (pool.into(), backend.into(), ip(address));
    assert_eq!(names(&lab.found("b", None)), of("web", "b", "192.0.2.11"));
    assert_eq!(names(&lab.found("a", Some("mail"))), of("mail", "a", "10.0.0.5"));
    assert_eq!(names(&lab.found("10.0.0.5", None)), of("mail", "a", "10.0.0.5"));
    assert_eq!(names(&lab.found("192.0.2.40", None)), of("", "", "192.0.2.40"), "a member");
    for (backend, pool, message) in [
        ("a", None, "several pools have a backend a: web, mail; name one"),
        ("b", Some("mail"), "pool mail has no backend b"),
        ("b", Some("nosuch"), "pool nosuch has no backend b"),
        ("nosuch", None, "no backend is named nosuch"),
        ("192.0.2.1", None, "no backend and no member has the address 192.0.2.1"),
        ("192.0.2.40", Some("web"), "pool web has no backend 192.0.2.40"),
    ] {
        let error = refusal(lab.route(backend, pool));
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::NotFound, message));
    }
}

#[test]
fn static_routes_say_which_key_made_them() {
    let lab = lab();
    let on_link = lab.found("b", None);
    assert_eq!((on_link.learnt, on_link.gateway), (Some(api::Learnt::StaticOnLink), None));
    assert_eq!(on_link.neighbor, Some(api::NeighborState::Static));
    let behind = lab.found("y", None);
    assert_eq!(behind.learnt, Some(api::Learnt::StaticGateway));
    assert_eq!(behind.gateway, Some(ip("192.0.2.254")));
    assert_eq!(behind.neighbor, Some(api::NeighborState::None));
    let neighbor = lab.found("x", None);
    assert_eq!((neighbor.learnt, neighbor.gateway), (Some(api::Learnt::StaticNeighbor), None));
}

#[test]
fn neighbors_are_those_of_the_configuration_and_those_in_use() {
    let lab = lab();
    let Response::Neighbors(list) = lab.daemon.handle(Request::NeighborList {}) else { panic!() };
    let of = |address| list.iter().find(|neighbor| neighbor.address == ip(address)).unwrap();
    assert_eq!(list.len(), 10 + 3);
    assert!(list.iter().all(|neighbor| neighbor.port == "edge0" && !neighbor.managed));
    let gateway = of("192.0.2.254");
    assert_eq!((gateway.backends, gateway.members), (2, 0));
    assert_eq!((gateway.state, &gateway.mac), (api::NeighborState::None, &None));
    assert_eq!((of("192.0.2.40").backends, of("192.0.2.40").members), (0, 1));
    assert_eq!((of("192.0.2.10").backends, of("192.0.2.19").backends), (1, 0));
    assert_eq!(of("10.0.0.6").mac.as_deref(), Some("02:00:00:00:00:66"));
    assert_eq!(of("10.0.0.6").state, api::NeighborState::Static);
}

#[test]
fn every_reason_is_listed() {
    let lab = Lab::new();
    let published = lab.daemon.overview.published.load_full();
    assert_eq!(published.routing.way(ip("10.0.0.5")), Err(Unreachable::NoRoute));
    let refused =
        |refusal, kind| (Unreachable::Refused(refusal), api::Unreachable::Refused { kind });
    let port = "edge0".to_owned();
    for (reason, listed) in [
        (Unreachable::NoRoute, api::Unreachable::NoRoute),
        (
            Unreachable::NotAPort { interface: "eth1".into() },
            api::Unreachable::NotAPort { interface: "eth1".to_owned() },
        ),
        (Unreachable::LinkDown { port: 0 }, api::Unreachable::LinkDown { port }),
        refused(Refusal::Blackhole, api::Refusal::Blackhole),
        refused(Refusal::Unreachable, api::Refusal::Unreachable),
        refused(Refusal::Prohibit, api::Refusal::Prohibit),
        (Unreachable::Own, api::Unreachable::Own),
    ] {
        let hop = convert::to_next_hop(&Err(reason), &published.configuration);
        assert_eq!(hop, api::NextHop::Unreachable(listed));
    }
}

#[test]
fn each_port_has_its_row_of_interfaces() {
    let lab = Lab::new();
    let Response::Interfaces(list) = lab.daemon.handle(Request::InterfaceList {}) else { panic!() };
    let row = api::PortInterface { port: "edge0".to_owned(), ..Default::default() };
    assert_eq!(list, [row]);
}

/// A second ago.
fn a_second() -> SystemTime {
    SystemTime::now() - Duration::from_secs(1)
}

/// A kernel that routes 10.0.0.0/24 by a gateway in VLAN 200, and knows the gateway.
fn kernel(lab: &mut Lab) {
    let hop = |link, gateway: Option<&str>| Hop {
        interface: "edge0.200".into(),
        link,
        gateway: gateway.map(ip),
        is_alive: true,
    };
    let route = |kind| Some(Arc::new(Route { prefix: 24, table: 100, protocol: 12, kind }));
    let vlan = Link { port: 0, vlan: Some(200) };
    let (via, gateway) = (hop(Some(vlan), Some("198.51.100.254")), ip("198.51.100.254"));
    let other = Hop { interface: "eth1".into(), ..hop(None, None) };
    let routes = vec![
        (ip("10.0.0.5"), route(Kind::Via(vec![via]))),
        (ip("10.0.0.7"), route(Kind::Refused(Refusal::Prohibit))),
        (ip("10.0.0.6"), route(Kind::Via(vec![other]))),
    ];
    let view = View {
        interfaces: vec![
            Interface {
                link: Link::of_port(0),
                name: "wan0".to_owned(),
                index: Some(7),
                is_up: true,
                has_carrier: true,
                addresses: vec!["192.0.2.1/24".parse().unwrap()],
            },
            Interface {
                link: vlan,
                name: "edge0.200".to_owned(),
                index: Some(8),
                is_up: true,
                has_carrier: true,
                addresses: vec!["198.51.100.1/24".parse().unwrap()],
            },
        ],
        neighbors: vec![Neighbor {
            link: vlan,
            address: gateway,
            mac: Some([2, 0, 0, 0, 0, 0xfe]),
            state: NeighborState::Stale,
            is_managed: true,
            since: a_second(),
        }],
        routes: routes
            .iter()
            .map(|(address, route)| {
                let route = Arc::clone(route.as_ref().unwrap());
                (*address, RouteView { route, since: SystemTime::UNIX_EPOCH })
            })
            .collect(),
        ..View::default()
    };
    let batch = Batch {
        routes,
        neighbors: vec![(vlan, gateway, Some([2, 0, 0, 0, 0, 0xfe]))],
        ..Batch::default()
    };
    lab.daemon.manager.changes().send(Change::Kernel(batch)).outcome().unwrap();
    lab.daemon.overview.view.store(Arc::new(view));
    lab.daemon.overview.ports[0].interface = Some(overview::Interface {
        name: "edge0".to_owned(),
        index: 7,
        probe: Box::new(|| overview::InterfaceState {
            is_removed: false,
            counters: overview::InterfaceCounters {
                to_kernel_packets: 1,
                to_kernel_bytes: 2,
                to_kernel_refused: 3,
                to_kernel_queue_full: 4,
                from_kernel_packets: 5,
                from_kernel_bytes: 6,
                from_kernel_dropped: 7,
            },
        }),
    });
}

#[test]
fn a_route_of_the_kernel_is_listed_with_its_neighbor() {
    let mut lab = lab();
    kernel(&mut lab);
    let route = lab.found("a", Some("mail"));
    let learnt = api::Learnt::Kernel { table: 100, prefix: "10.0.0.0/24".to_owned(), protocol: 12 };
    assert_eq!((route.learnt, route.gateway), (Some(learnt), Some(ip("198.51.100.254"))));
    assert_eq!((route.interface.as_deref(), route.next_hop.vlan()), (Some("edge0.200"), Some(200)));
    assert_eq!(route.neighbor, Some(api::NeighborState::Stale));
    assert!(route.seconds.is_some_and(|seconds| (1..60).contains(&seconds)));
    // A refusal counts for more than the gateway of the configuration.
    let refused = lab.found("y", None);
    let reason = api::Unreachable::Refused { kind: api::Refusal::Prohibit };
    assert_eq!(refused.next_hop, api::NextHop::Unreachable(reason));
    assert!(matches!(refused.learnt, Some(api::Learnt::Kernel { .. })));
    assert_eq!((refused.neighbor, refused.interface), (None, None));
    // A [[neighbor]] counts for more than a route by a device that is no port.
    assert_eq!(lab.found("x", None).learnt, Some(api::Learnt::StaticNeighbor));
    let states: Vec<_> = lab.backends().iter().map(|backend| backend.state).collect();
    use api::BackendState::{Active, Unreachable};
    assert_eq!(states, [Active, Active, Active, Active, Active, Unreachable]);
}

#[test]
fn a_neighbor_of_the_kernel_is_listed_with_its_state() {
    let mut lab = lab();
    kernel(&mut lab);
    let Response::Neighbors(list) = lab.daemon.handle(Request::NeighborList {}) else { panic!() };
    let gateway = list.iter().find(|n| n.address == ip("198.51.100.254")).unwrap();
    assert_eq!((gateway.state, gateway.managed), (api::NeighborState::Stale, true));
    assert_eq!(gateway.mac.as_deref(), Some("02:00:00:00:00:fe"));
    assert_eq!((gateway.vlan, gateway.interface.as_deref()), (Some(200), Some("edge0.200")));
    assert_eq!((gateway.backends, gateway.members), (1, 0));
    assert!(gateway.seconds.is_some_and(|seconds| seconds >= 1), "{gateway:?}");
}

#[test]
fn an_interface_is_listed_with_its_vlan_devices() {
    let mut lab = lab();
    kernel(&mut lab);
    let one = |lab: &Lab| match lab.daemon.handle(Request::InterfaceList {}) {
        Response::Interfaces(mut list) if list.len() == 1 => list.remove(0),
        other => panic!("{other:?}"),
    };
    let expected = api::PortInterface {
        port: "edge0".to_owned(),
        interface: Some("wan0".to_owned()),
        renamed_from: Some("edge0".to_owned()),
        index: Some(7),
        state: api::PortInterfaceState::Up,
        mac: Some("02:00:00:00:00:01".to_owned()),
        mtu: Some(1500),
        addresses: vec!["192.0.2.1/24".to_owned()],
        vlans: vec![api::VlanDevice {
            vlan: 200,
            interface: "edge0.200".to_owned(),
            up: true,
            addresses: vec!["198.51.100.1/24".to_owned()],
        }],
        to_kernel: api::ToKernel { packets: 1, bytes: 2, refused: 3, queue_full: 4 },
        from_kernel: api::FromKernel { packets: 5, bytes: 6, dropped: 7 },
    };
    assert_eq!(one(&lab), expected);
    use api::PortInterfaceState::{Missing, NoCarrier, SetDown, Up};
    for (index, is_up, has_carrier, state) in [
        (Some(7), true, false, NoCarrier),
        (Some(7), false, true, SetDown),
        (None, true, true, Missing),
    ] {
        let mut view = View::clone(&lab.daemon.overview.view.load());
        let interface = &mut view.interfaces[0];
        (interface.index, interface.is_up, interface.has_carrier) = (index, is_up, has_carrier);
        lab.daemon.overview.view.store(Arc::new(view));
        assert_eq!(one(&lab).state, state);
    }
    // Without a view of the kernel there is what Guideway made.
    lab.daemon.overview.view.store(Arc::default());
    let made = one(&lab);
    assert_eq!((made.interface.as_deref(), made.state), (Some("edge0"), Up));
    assert_eq!((made.renamed_from, made.vlans.len()), (None, 0));
}

#[test]
fn punts_are_listed_in_the_order_of_service() {
    let lab = Lab::new();
    let limits = "[punt]\nneighbor = { rate = 3, burst = 4 }\n";
    lab.applied(&(text(THREE) + limits));
    let Response::Punts(list) = lab.daemon.handle(Request::PuntList {}) else { panic!() };
    let classes: Vec<_> = list.iter().map(|punt| punt.class.as_str()).collect();
    assert_eq!(classes, ["routing", "neighbor", "probe", "own", "link_local", "multicast"]);
    assert_eq!((list[1].rate, list[1].burst, list[1].punted, list[1].limited), (3, 4, 0, 0));
}
