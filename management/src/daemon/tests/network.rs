//! Listings of the kernel's side, without a kernel: what the configuration says.

use super::*;
use crate::routing::{Refusal, Unreachable};

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
