use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use guideway_api::VipState;
use guideway_config::{Bgp, BgpPeer, Community, Family};
use proptest::prelude::*;

use super::*;
use crate::announce::Handling;

/// A peer with the defaults of the configuration.
pub(in crate::bird) fn peer(name: &str) -> BgpPeer {
    BgpPeer {
        name: name.to_owned(),
        address: "192.0.2.254".parse().unwrap(),
        remote_as: 65000,
        local_as: None,
        source: None,
        password_file: None,
        ttl_hops: 1,
        ttl_security: true,
        hold_time: Duration::from_secs(9),
        keepalive: None,
        bfd: true,
        bfd_interval: Duration::from_millis(100),
        bfd_multiplier: 3,
        families: vec![],
        next_hops: vec![],
        communities: vec![],
        med: 0,
        prepend: 0,
    }
}

/// `[bgp]` with the defaults, and these peers.
pub(in crate::bird) fn bgp(peers: Vec<BgpPeer>) -> Bgp {
    Bgp {
        local_as: 65001,
        allowed: vec!["203.0.113.0/24".parse().unwrap(), "2001:db8:f::/48".parse().unwrap()],
        drain_med: 1000,
        drain_prepend: 3,
        directory: "/run/guideway-bird".into(),
        program: "/usr/sbin/bird".into(),
        peers,
        ..Bgp::default()
    }
}

pub(in crate::bird) fn plan(peers: Vec<BgpPeer>) -> Plan {
    Plan {
        bgp: Arc::new(bgp(peers)),
        router_id: "192.0.2.1".parse().unwrap(),
        interface: "gwvip".to_owned(),
        table: 1000,
        classes: BTreeMap::new(),
    }
}

fn handlings(peer: &str, state: VipState, next_hop: Option<&str>) -> Handlings {
    let next_hop = next_hop.map(|hop| hop.parse().unwrap());
    BTreeMap::from([(peer.to_owned(), Handling { state, next_hop })])
}

/// What the real BIRD says of a text.
fn checked_by_bird(text: &str) -> Result<(), String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let output = Command::new("/usr/sbin/bird").arg("-p").arg("-c").arg(file.path()).output();
    let output = output.unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn a_plan_with_everything_makes_this_text() {
    let external = BgpPeer {
        source: Some("192.0.2.1".parse().unwrap()),
        password_file: Some("/etc/guideway/tor1".into()),
        families: vec![Family::V4, Family::V6],
        next_hops: vec!["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()],
        communities: vec![Community::Standard(65001, 100), Community::Large(65001, 1, 2)],
        med: 7,
        prepend: 1,
        ..peer("tor1")
    };
    let internal = BgpPeer {
        address: "2001:db8:1::1".parse().unwrap(),
        remote_as: 65001,
        ttl_hops: 5,
        ttl_security: false,
        hold_time: Duration::ZERO,
        bfd: false,
        ..peer("rr.a-1")
    };
    let mut plan = plan(vec![external, internal]);
    plan.classes = BTreeMap::from([
        (Class(1), handlings("tor1", VipState::Withdrawn, None)),
        (Class(2), handlings("tor1", VipState::Announced, Some("192.0.2.8"))),
        (Class(3), handlings("rr.a-1", VipState::Draining, None)),
        (Class(4), handlings("rr.a-1", VipState::Withdrawn, None)),
    ]);
    let passwords = Passwords::from([("tor1".to_owned(), "it's # \\ {secret}".to_owned())]);
    let text = text(&plan, &passwords).unwrap();
    checked_by_bird(&text).unwrap();
    assert_eq!(text, include_str!("everything.conf"));
}

#[test]
fn a_plan_without_peers_is_one_of_bird() {
    let mut plan = plan(vec![]);
    plan.bgp = Arc::new(Bgp::default());
    checked_by_bird(&text(&plan, &Passwords::new()).unwrap()).unwrap();
}

#[test]
fn nothing_is_allowed_of_a_family_without_a_prefix() {
    let families = vec![Family::V4, Family::V6];
    let next_hops = vec!["2001:db8::1".parse().unwrap()];
    let mut plan = plan(vec![BgpPeer { families, next_hops, ..peer("a") }]);
    let only_v4 = Bgp { allowed: vec!["203.0.113.7/24".parse().unwrap()], ..(*plan.bgp).clone() };
    plan.bgp = Arc::new(only_v4);
    let text = text(&plan, &Passwords::new()).unwrap();
    assert!(text.contains("if net !~ [ 203.0.113.0/24{32,32} ] then reject;"), "{text}");
    let v6 = text.split("filter 'to_a_6'").nth(1).unwrap();
    assert_eq!(v6.lines().nth(4), Some("  reject;"), "{v6}");
    checked_by_bird(&text).unwrap();
}

#[test]
fn passwords_that_bird_or_tcp_cannot_take_are_refused() {
    let file = Some("/etc/guideway/p".into());
    let plan = plan(vec![BgpPeer { password_file: file, ..peer("a") }]);
    let with =
        |password: &str| text(&plan, &Passwords::from([("a".to_owned(), password.to_owned())]));
    checked_by_bird(&with(&"x".repeat(80)).unwrap()).unwrap();
    checked_by_bird(&with("pässwort ' \\n %s $ ;").unwrap()).unwrap();
    for (password, words) in [
        ("", "is empty"),
        ("a\"b", "quotation mark"),
        ("a\tb", "control character"),
        ("a\u{7f}", "control character"),
        (&"x".repeat(81), "80 bytes"),
    ] {
        let error = with(password).unwrap_err();
        assert!(error.contains(words) && error.contains("peer a"), "{error}");
        assert!(password.is_empty() || !error.contains(password), "{error}");
    }
    let error = text(&plan, &Passwords::new()).unwrap_err();
    assert!(error.contains("/etc/guideway/p"), "{error}");
}

#[test]
fn routes_are_sent_again_only_if_they_have_become_others() {
    let old = plan(vec![peer("a"), peer("b")]);
    let with = |change: &dyn Fn(&mut BgpPeer)| {
        let mut peers = old.bgp.peers.clone();
        change(&mut peers[0]);
        plan(peers)
    };
    let changes = |new: &Plan| (changes_routes(&old, new, "a"), changes_routes(&old, new, "b"));
    assert_eq!(changes(&old), (false, false));
    assert_eq!(changes(&with(&|peer| peer.med = 1)), (true, false));
    assert_eq!(changes(&with(&|peer| peer.prepend = 1)), (true, false));
    // The session begins anew by itself, and one that is new has nothing to send again.
    assert_eq!(changes(&with(&|peer| peer.ttl_hops = 2)), (false, false));
    assert_eq!(changes(&with(&|peer| peer.name = "c".to_owned())), (false, false));
    let mut other = old.clone();
    other.bgp = Arc::new(Bgp { drain_med: 5, ..(*old.bgp).clone() });
    assert_eq!(changes(&other), (true, true));

    // No route has a class that was not known before, or is known no more.
    let classes = |state| {
        let classes = BTreeMap::from([(Class(1), handlings("a", state, None))]);
        Plan { classes, ..old.clone() }
    };
    assert_eq!(changes(&classes(VipState::Draining)), (false, false));
    assert!(!changes_routes(&classes(VipState::Draining), &old, "a"));
    let (drains, goes) = (classes(VipState::Draining), classes(VipState::Withdrawn));
    assert!(changes_routes(&drains, &goes, "a"));
    assert!(!changes_routes(&drains, &goes, "b"));
}

#[test]
fn names_that_are_words_of_bird_are_names() {
    for name in ["hold", "bgp_path", "vips4", "kernel4", "master4", "all", "7", "-.-", "bfd1"] {
        checked_by_bird(&text(&plan(vec![peer(name)]), &Passwords::new()).unwrap()).unwrap();
    }
    // The longest name of a session and its filters that BIRD has place for.
    let longest = "x".repeat(guideway_config::LONGEST_PEER);
    checked_by_bird(&text(&plan(vec![peer(&longest)]), &Passwords::new()).unwrap()).unwrap();
    let longer = format!("{longest}x");
    checked_by_bird(&text(&plan(vec![peer(&longer)]), &Passwords::new()).unwrap()).unwrap_err();
}

/// The limits of the configuration: 64 peers of both families, and an order for each class that no other has.
#[test]
fn the_largest_plan_is_checked_in_time() {
    let peers = (0..64_u8).map(|n| BgpPeer {
        address: [192, 0, 2, n + 1].into(),
        families: vec![Family::V4, Family::V6],
        next_hops: vec!["2001:db8::1".parse().unwrap()],
        ..peer(&format!("peer{n}"))
    });
    let mut plan = plan(peers.collect());
    let names: Vec<String> = plan.bgp.peers.iter().map(|peer| peer.name.clone()).collect();
    plan.classes = (1..1000_u16)
        .map(|class| {
            let [high, low] = class.to_be_bytes();
            let next_hop = Some([10, 0, high, low].into());
            let handling = Handling { state: VipState::Announced, next_hop };
            (Class(class), names.iter().map(|name| (name.clone(), handling)).collect())
        })
        .collect();
    let begin = std::time::Instant::now();
    let text = text(&plan, &Passwords::new()).unwrap();
    checked_by_bird(&text).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

fn any_address(is_v4: bool) -> BoxedStrategy<std::net::IpAddr> {
    match is_v4 {
        true => (1_u8..220, any::<[u8; 3]>())
            .prop_map(|(a, [b, c, d])| std::net::Ipv4Addr::new(a, b, c, d).into())
            .boxed(),
        false => any::<[u16; 7]>()
            .prop_map(|[b, c, d, e, f, g, h]| {
                std::net::Ipv6Addr::new(0x2001, b, c, d, e, f, g, h).into()
            })
            .boxed(),
    }
}

fn any_prefix() -> impl Strategy<Value = ipnet::IpNet> {
    any::<bool>().prop_flat_map(|is_v4| {
        (any_address(is_v4), 1..=if is_v4 { 32_u8 } else { 128 })
            .prop_map(|(address, length)| ipnet::IpNet::new(address, length).unwrap())
    })
}

fn any_community() -> impl Strategy<Value = Community> {
    prop_oneof![
        any::<(u16, u16)>().prop_map(|(one, two)| Community::Standard(one, two)),
        any::<(u32, u32, u32)>().prop_map(|(one, two, three)| Community::Large(one, two, three)),
    ]
}

fn any_peer() -> impl Strategy<Value = BgpPeer> {
    let addresses = any::<bool>().prop_flat_map(|is_v4| {
        let both = (any_address(true), any_address(false));
        (any_address(is_v4), any_address(is_v4), both)
    });
    let session = (1..=4_294_967_294_u32, 1..=254_u8, any::<bool>(), any::<bool>());
    let times = (prop_oneof![Just(0_u64), 3..=65_535_u64], 10..=10_000_u64, 2..=100_u8);
    let routes = (
        prop::sample::select(vec![vec![], vec![Family::V4], vec![Family::V6, Family::V4]]),
        prop::collection::vec(any_community(), 0..4),
        any::<u32>(),
        0..=10_u8,
    );
    ("[A-Za-z0-9._-]{1,59}", any::<bool>(), addresses, session, times, routes).prop_map(
        |(name, is_signed, addresses, session, times, routes)| {
            let (address, source, (v4, v6)) = addresses;
            let (remote_as, ttl_hops, ttl_security, bfd) = session;
            let (hold_time, bfd_interval, bfd_multiplier) = times;
            let (families, communities, med, prepend) = routes;
            BgpPeer {
                name,
                address,
                // BFD needs it over several hops.
                source: (ttl_hops > 1 || is_signed).then_some(source),
                remote_as,
                local_as: None,
                password_file: is_signed.then(|| "/p".into()),
                ttl_hops,
                ttl_security,
                hold_time: Duration::from_secs(hold_time),
                keepalive: None,
                bfd,
                bfd_interval: Duration::from_millis(bfd_interval),
                bfd_multiplier,
                families,
                next_hops: vec![v4, v6],
                communities,
                med,
                prepend,
            }
        },
    )
}

fn any_handling() -> impl Strategy<Value = Handling> {
    let states = vec![VipState::Withdrawn, VipState::Draining, VipState::Announced];
    let hop = any::<bool>().prop_flat_map(any_address);
    (prop::sample::select(states), prop::option::of(hop))
        .prop_map(|(state, next_hop)| Handling { state, next_hop })
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let bgp = (
        1..=4_294_967_294_u32,
        prop::collection::vec(any_prefix(), 0..6),
        any::<u32>(),
        0..=10_u8,
        prop::collection::vec(any_peer(), 0..5),
    );
    let classes = prop::collection::btree_map(
        (1..1000_u16).prop_map(Class),
        prop::collection::vec((0..5_usize, any_handling()), 1..4),
        0..40,
    );
    (bgp, any::<[u8; 4]>(), "[A-Za-z0-9._-]{1,15}", 1..=u32::MAX, classes).prop_map(
        |(
            (local_as, allowed, drain_med, drain_prepend, mut peers),
            id,
            interface,
            table,
            classes,
        )| {
            peers.sort_by(|one, two| one.name.cmp(&two.name));
            peers.dedup_by(|one, two| one.name == two.name);
            let named = |handlings: Vec<(usize, Handling)>| {
                let named = handlings.into_iter().filter_map(|(index, handling)| {
                    Some((peers.get(index)?.name.clone(), handling))
                });
                named.collect::<Handlings>()
            };
            let classes = classes.into_iter().map(|(class, list)| (class, named(list))).collect();
            let bgp = Bgp { local_as, allowed, drain_med, drain_prepend, peers, ..bgp_default() };
            let [a, b, c, d] = id;
            let router_id = std::net::Ipv4Addr::new(a | 1, b, c, d);
            Plan { bgp: Arc::new(bgp), router_id, interface, table, classes }
        },
    )
}

fn bgp_default() -> Bgp {
    bgp(vec![])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn bird_reads_the_text_of_any_plan(plan in any_plan()) {
        let names = plan.bgp.peers.iter().map(|peer| peer.name.clone());
        let passwords: Passwords = names.map(|name| (name, "p' w".to_owned())).collect();
        let text = text(&plan, &passwords).unwrap();
        if let Err(error) = checked_by_bird(&text) {
            panic!("{error}\n{text}");
        }
    }
}
