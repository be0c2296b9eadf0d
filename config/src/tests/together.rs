//! Limits on the number of sections, several mistakes at once, warnings.

use super::mistakes::{Case, mistakes};
use super::{EXAMPLE, STATIC, changed, large};
use crate::{Mistake, parse};

#[test]
fn sections_and_slots_are_limited() {
    let pools = |number: usize, size: u32| {
        let mut text = changed(&[("65537", &size.to_string())]);
        for index in 1..number {
            text += &format!("[[pool]]\nname = 'p{index}'\nbackends = []\n");
        }
        text
    };
    // 16384 tables of 65521 slots stay below 2^30, as many of 65537 do not.
    assert!(parse(&pools(16_384, 65_521)).is_ok());
    let slots = mistakes(&pools(16_384, 65_537));
    assert_eq!((slots.len(), slots[0].key.as_str()), (1, "hash.table_size"));
    assert!(slots[0].message.contains("16384 pools"), "{slots:?}");
    let many = mistakes(&pools(65_536, 251));
    assert_eq!((many.len(), many[0].key.as_str()), (1, "pool"));
    assert_eq!(many[0].line, 37 + 3 * 65_534);

    let mut services = EXAMPLE.to_owned();
    for index in 1..=65_535 {
        services += &format!(
            "[[service]]\nname = 's{index}'\naddress = '203.0.113.10'\n\
             protocol = 'udp'\nport = {index}\npool = 'web'\n"
        );
    }
    let many = mistakes(&services);
    assert_eq!((many.len(), many[0].key.as_str()), (1, "service"));

    let backends = mistakes(&large(65_535).replace("5000011", "7000003"));
    assert_eq!((backends.len(), backends[0].key.as_str()), (1, "pool[0].backends"));
    assert!(backends[0].message.contains("65535 backends"), "{backends:?}");
}

#[test]
fn inclusions_levels_and_policies_are_limited() {
    let with = |pools: &dyn Fn(usize) -> String, number: usize| {
        let mut text = EXAMPLE.to_owned();
        (0..number)
            .for_each(|index| text += &format!("[[pool]]\nname = 'p{index}'\n{}", pools(index)));
        text
    };
    // Each pool includes the two backends of the first.
    let all = |_| "pools = ['web']\n".to_owned();
    let many =
        large(999).replace("[[service]]", "[[pool]]\nname = 'all'\npools = ['web']\n[[service]]");
    assert!(parse(&many).is_ok());
    let mut again = large(999);
    (0..65).for_each(|index| again += &format!("[[pool]]\nname = 'p{index}'\npools = ['web']\n"));
    let found = mistakes(&again);
    assert_eq!((found.len(), found[0].key.as_str()), (1, "pool"));
    assert!(found[0].message.contains("the pools have 66000 backends in all"), "{found:?}");
    assert!(parse(&with(&all, 1000)).is_ok());
    // Far too many are not counted to the end.
    let twice = |index: usize| match index {
        0 => "pools = ['web']\n".to_owned(),
        _ => format!(
            "pools = ['p{}']\nbackends = [{{ name = 'x', address = '10.8.{}.{}' }}]\n",
            index - 1,
            index / 256,
            index % 256
        ),
    };
    let found = mistakes(&with(&twice, 5000));
    assert_eq!((found.len(), found[0].key.as_str()), (1, "pool"));
    assert!(found[0].message.contains("over 1048560 backends"), "{found:?}");

    let chain = |index: usize| match index {
        0 => "backends = []\n".to_owned(),
        _ => format!("backends = []\nbackup = 'p{}'\n", index - 1),
    };
    assert!(parse(&with(&chain, 8)).is_ok());
    let found = mistakes(&with(&chain, 16_000));
    assert_eq!((found.len(), found[0].key.as_str()), (1, "pool[9].backup"));
    assert!(
        found[0].message.contains("is the first of 8 backups in a row; there can be 7: remove one"),
        "{found:?}"
    );
    // A long cycle is not told in full.
    let cycle = |index: usize| format!("pools = ['p{}']\n", (index + 1) % 16_000);
    let found = mistakes(&with(&cycle, 16_000));
    assert_eq!((found.len(), found[0].key.as_str()), (1, "pool[16000].pools[0]"));
    assert!(found[0].message.contains("p7 -> ... -> p15992 -> "), "{found:?}");

    let services = |number: usize| {
        let mut text = EXAMPLE.to_owned();
        for index in 1..=number {
            text += &format!(
                "[[service]]\nname = 's{index}'\naddress = '203.0.113.10'\nprotocol = 'udp'\n\
                 port = {index}\npool = 'web'\ndrain_timeout = {}\n",
                1 + index / 2
            );
        }
        text
    };
    assert!(parse(&services(125)).is_ok());
    let found = mistakes(&services(126));
    assert_eq!((found.len(), found[0].key.as_str()), (1, "service[126]"));
    assert!(found[0].message.contains("beyond 64 different combinations"), "{found:?}");
}

#[test]
fn many_mistakes_are_reported_together() {
    let text = changed(&[
        ("name = \"lb1\"", "name = \"\"\nnmae = 1"),
        ("65537", "65536"),
        ("key = \"0001", "key = \"01"),
        ("[1, 2]", "[1, 1, 5000, \"a\"]"),
        ("= true", "= yes"),
        ("mtu = 1500", "mtu = 64"),
        ("192.0.2.254\", ", "192.0.9.254\", "),
        ("weight = 1", "weight = 1.5"),
        ("port = 80", "port = 80000"),
        ("pool = \"web\"", "pool = \"wep\""),
    ]);
    let found: Vec<String> =
        mistakes(&text).iter().map(|m| format!("{} {}", m.line, m.key)).collect();
    assert_eq!(
        found,
        [
            "2 node.name",
            "3 node.nmae",
            "7 hash.key",
            "8 hash.table_size",
            "11 dpdk.workers[2]",
            "11 dpdk.workers[3]",
            "12 ",
            "19 port[0].gateways[0]",
            "20 port[0].mtu",
            "30 pool[0].backends[0].weight",
            "36 service[0].port",
            "37 service[0].pool",
        ]
    );
    let display = parse(&text).unwrap_err().to_string();
    assert_eq!(display.lines().count(), found.len());
    assert!(display.starts_with("line 2: node.name: is \"\"; expected"), "{display}");
}

#[test]
fn a_misspelt_required_key_is_missing_too() {
    let positions = |changes: &[(&str, &str)]| {
        let found = mistakes(&changed(changes));
        found.iter().map(|m| format!("{} {}", m.line, m.key)).collect::<Vec<_>>()
    };
    assert_eq!(positions(&[("[node]", "[nod]")]), ["1 node", "1 nod"]);
    let backends = positions(&[("backends = [", "backend = [")]);
    assert_eq!(backends, ["26 pool[0].backends", "29 pool[0].backend"]);
}

#[test]
fn an_own_address_is_no_next_hop() {
    let port = "[[port]]\nname = 'x'\ndevice = 'net_null0'\naddresses = ['192.0.2.254/24']\n";
    let found = mistakes(&changed(&[("[[neighbor]]", &format!("{port}[[neighbor]]"))]));
    let keys: Vec<&str> = found.iter().map(|mistake| mistake.key.as_str()).collect();
    assert_eq!(keys, ["port[0].gateways[0]", "neighbor[0].address"]);
    assert!(found.iter().all(|m| m.message.contains("is the address of the port on line 25")));
}

#[test]
fn an_empty_text_names_the_sections_that_it_needs() {
    let keys: Vec<String> = mistakes("").into_iter().map(|mistake| mistake.key).collect();
    assert_eq!(keys, ["node", "hash", "dpdk", "port"]);
}

#[test]
fn each_warning() {
    let cases: &[Case<'_>] = &[
        (&[("eal_args = []", "[control]\nsocket = 's'")], 13, "control.socket", "is relative"),
        (
            &[("192.0.2.1/24", "192.0.2.0/24")],
            17,
            "port[0].addresses",
            "address of the network itself",
        ),
        (
            &[(
                "[[neighbor]]",
                "[[port]]\nname = \"b\"\ndevice = \"net_null1\"\naddresses = [\"192.0.2.2/24\"]\n\n[[neighbor]]",
            )],
            25,
            "port[1].addresses",
            "same network",
        ),
        (
            &[("\"192.0.2.254\", ", "\"192.0.2.254\", \"192.0.2.253\", ")],
            18,
            "port[0].gateways",
            "192.0.2.253 is not used",
        ),
        (
            &[("address = \"192.0.2.254\"", "address = \"192.0.9.254\"")],
            23,
            "neighbor[0].address",
            "is in no port's network; it is taken to be on the link of port[0]",
        ),
        (
            &[("address = \"192.0.2.254\"", "address = \"192.0.2.253\""), STATIC],
            29,
            "pool[0].backends[0].address",
            "the next hop 192.0.2.254 of 1 backend has no [[neighbor]]: packets are dropped \
             as next_hop_unresolved",
        ),
        (
            &[("203.0.113.10", "192.0.2.1")],
            33,
            "service[0].address",
            "192.0.2.1 is the address of the port on line 17 too",
        ),
        (
            &[(
                "weight = 1 }, { name = \"b2\", address = \"2001:db8:b::2\"",
                "weight = 0 }, { name = \"b2\", address = \"2001:db8:b::2\", enabled = false",
            )],
            36,
            "service[0].pool",
            "new flows are dropped",
        ),
        (
            &[(
                "{ name = \"b1\", address = \"10.0.0.5\", weight = 1 }, { name = \"b2\", \
                 address = \"2001:db8:b::2\" }",
                "",
            )],
            36,
            "service[0].pool",
            "the pool has no backend",
        ),
        (
            &[("[[service]]", "[[pool]]\nname = 'x'\nbackends = []\n[[service]]")],
            31,
            "pool[1]",
            "no service uses this pool",
        ),
        (
            &[
                ("[[service]]", "[[pool]]\nname = 'x'\nbackends = []\n[[service]]"),
                ("\"gre\"", "\"gre\"\nbackup = 'x'"),
            ],
            29,
            "pool[0].backup",
            "adds no backend that the pool does not have, so it cannot stand in; give it backends",
        ),
        (
            &[
                (
                    "[[service]]",
                    "[[pool]]\nname = 'x'\nbackends = []\non_empty = 'reset'\n[[service]]",
                ),
                ("\"gre\"", "\"gre\"\nbackup = 'x'"),
            ],
            35,
            "pool[1].on_empty",
            "has no effect: no service names this pool",
        ),
        (
            &[
                ("[[service]]", "[[pool]]\nname = 'x'\nbackends = []\nmin_active = 1\n[[service]]"),
                ("\"gre\"", "\"gre\"\npools = ['x']"),
            ],
            35,
            "pool[1].min_active",
            "changes only a metric: no service names this pool",
        ),
        (
            &[("\"gre\"", "\"gre\"\nmin_active = 3")],
            29,
            "pool[0].min_active",
            "is 3, and the pool has 2 backends: it never has enough; lower it, or add backends",
        ),
        (
            &[("\"gre\"", "\"gre\"\nchoice = 'least-flows'")],
            29,
            "pool[0].choice",
            "is \"least-flows\": forwarders do not agree on the backend of a flow",
        ),
        (
            &[
                ("\"gre\"", "\"gre\"\nchoice = 'round-robin'"),
                ("eal_args = []", "[cluster]\nmembers = ['192.0.2.1', '192.0.2.254']"),
            ],
            30,
            "pool[0].choice",
            "the 2 members of the cluster do not agree",
        ),
    ];
    for &(changes, line, key, words) in cases {
        let warnings = parse(&changed(changes)).unwrap().warnings;
        let fits = |w: &&Mistake| w.line == line && w.key == key && w.message.contains(words);
        assert_eq!(warnings.iter().filter(fits).count(), 1, "{changes:?}: {warnings:#?}");
    }
}

#[test]
fn a_pool_that_another_names_is_used_and_serves() {
    let warnings = |changes: &[(&str, &str)]| {
        let pools = "[[pool]]\nname = 'x'\nbackends = [{ name = 'b', address = '10.0.0.9' }]\n\
                     [[pool]]\nname = 'y'\nKEY\nchoice = 'source-hash'\n[[service]]";
        let changes =
            [&[("[[service]]", pools), ("pool = \"web\"", "pool = 'y'")], changes].concat();
        parse(&changed(&changes)).unwrap().warnings
    };
    let keys: [&str; 3] =
        ["pools = ['web', 'x']", "pools = ['x']\nbackup = 'web'", "pools = ['web']\nbackup = 'x'"];
    for key in keys {
        assert_eq!(warnings(&[("KEY", key)]), [], "{key}");
    }
    // The pool has no backend of its own, and its backup serves.
    assert_eq!(warnings(&[("KEY", "backends = []\npools = ['web']\nbackup = 'x'")]), []);
    let unused = warnings(&[("KEY", "backends = []\nbackup = 'x'")]);
    assert_eq!((unused.len(), unused[0].key.as_str()), (1, "pool[0]"), "{unused:?}");
}
