//! Each possible mistake alone: its line, its key and its message.

use super::{EXAMPLE, STATIC, changed};
use crate::{Mistake, parse};

pub(super) fn mistakes(text: &str) -> Vec<Mistake> {
    match parse(text) {
        Ok(parsed) => panic!("valid: {:#?}", parsed.configuration),
        Err(mistakes) => mistakes.iter().cloned().collect(),
    }
}

/// Replacements in the contract's example, then line, key and words of the one mistake that they make.
/// A second mistake would be a mere consequence of the first, which must not be reported.
pub(super) type Case<'a> = (&'a [(&'a str, &'a str)], usize, &'a str, &'a str);

#[track_caller]
pub(super) fn each_alone(cases: &[Case<'_>]) {
    for &(changes, line, key, words) in cases {
        let found = mistakes(&changed(changes));
        assert_eq!(found.len(), 1, "{changes:?}: {found:#?}");
        assert_eq!((found[0].line, found[0].key.as_str()), (line, key), "{changes:?}: {found:#?}");
        assert!(found[0].message.contains(words), "{words:?} is not in {:?}", found[0].message);
    }
}

#[test]
fn mistakes_of_the_node_and_the_hash() {
    each_alone(&[
        (&[("lb1", "lb 1")], 2, "node.name", "is \"lb 1\"; expected 1 to 63 letters"),
        (&[("name = \"lb1\"", "name = 1")], 2, "node.name", "is the integer 1; expected a string"),
        (
            &[("name = \"lb1\"\n", "")],
            1,
            "node.name",
            "is missing; write for example name = \"lb1\"",
        ),
        (&[("\"lb1\"", "\"lb1\"\nnam = 1")], 3, "node.nam", "the nearest known one is \"name\""),
        (
            &[("\"2001:db8::1\"]", "\"10.0.0.1\"]")],
            3,
            "node.tunnel_source[1]",
            "second IPv4 address",
        ),
        (&[("\"2001:db8::1\"]", "\"::1\"]")], 3, "node.tunnel_source[1]", "loopback"),
        (
            &[("[\"192.0.2.1\", \"2001:db8::1\"]", "\"192.0.2.1\"")],
            3,
            "node.tunnel_source",
            "expected an array",
        ),
        (
            &[(", \"2001:db8::1\"]", "]")],
            3,
            "node.tunnel_source",
            "no IPv6 address, which 1 backend needs as outer source, first \"b2\" of pool \
             \"web\" on line 29",
        ),
        (&[("\"192.0.2.1\", ", "")], 3, "node.tunnel_source", "no IPv4 address"),
        (
            &[("key = \"000102030405060708090a0b0c0d0e0f\"\n", "")],
            5,
            "hash.key",
            "openssl rand -hex 16",
        ),
        (&[("0e0f", "0e")], 6, "hash.key", "has 30 digits"),
        (&[("65537", "65536")], 7, "hash.table_size", "the nearest are 65521 and 65537"),
        (&[("65537", "16777259")], 7, "hash.table_size", "from 2 to 16777213"),
        (
            &[("65537", "199")],
            7,
            "hash.table_size",
            "less than 100 for each of the 2 backends of pool \"web\" on line 26; 211 is the least",
        ),
    ]);
}

#[test]
fn mistakes_of_the_process() {
    each_alone(&[
        (&[("workers = [1, 2]\n", "")], 9, "dpdk.workers", "write for example workers = [1, 2]"),
        (&[("[1, 2]", "[]")], 9, "dpdk.workers", "is empty"),
        (&[("[1, 2]", "2")], 10, "dpdk.workers", "expected an array, for example [1, 2]"),
        (&[("[1, 2]", "[1, 2, 1]")], 10, "dpdk.workers[2]", "CPU 1 again"),
        (&[("[1, 2]", "[1, 1024]")], 10, "dpdk.workers[1]", "from 0 to 1023"),
        (
            &[("= true", "= \"yes\"")],
            11,
            "dpdk.hugepages",
            "expected true or false, without quotes",
        ),
        (
            &[("eal_args = []", "eal_args = ['-v', '--file-prefix=x']")],
            12,
            "dpdk.eal_args[1]",
            "cannot be passed through",
        ),
        (
            &[("eal_args = []", "idle = 'sleep'")],
            12,
            "dpdk.idle",
            "expected \"poll\" or \"pause\" or \"interrupt\"",
        ),
        (&[("eal_args = []", "memory = 63")], 12, "dpdk.memory", "from 64 to 1048576"),
        (&[("eal_args = []", "buffers = -1")], 12, "dpdk.buffers", "from 0 to 16777216"),
        (
            &[("eal_args = []", "[flow]\nentries = 1000")],
            13,
            "flow.entries",
            "the nearest are 512 and 1024",
        ),
        (&[("eal_args = []", "[icmp]\nrate = -1")], 13, "icmp.rate", "from 0 to 1000000"),
        (&[("eal_args = []", "[icmp]\nburst = 0")], 13, "icmp.burst", "from 1 to 1000000"),
        (&[("eal_args = []", "[punt.own]\nrate = -1")], 13, "punt.own.rate", "from 0 to 10000000"),
        (&[("eal_args = []", "[punt.own]\nburst = 0")], 13, "punt.own.burst", "from 1 to 10000000"),
        (&[("eal_args = []", "[punt.arp]\nrate = 1")], 12, "punt.arp", "unknown"),
        (
            &[("eal_args = []", "[punt]\nrouting_peers = ['10.0.0.1']")],
            13,
            "punt.routing_peers[0]",
            "prefix",
        ),
        (
            &[("eal_args = []", "[punt]\nrouting_peers = ['10.0.0.0/8', '10.1.0.0/8']")],
            13,
            "punt.routing_peers[1]",
            "listed twice",
        ),
        (&[("eal_args = []", "[icmp]\nbrust = 1")], 13, "icmp.brust", "is \"burst\""),
        (&[("eal_args = []", "[[icmp]]\nrate = 1")], 12, "icmp", "written [icmp] in single"),
        (&[("eal_args = []", "[flow]\nentries = 536870912")], 13, "flow.entries", "to 268435456"),
        (
            &[("eal_args = []", "[flow]\ntimeouts = {}")],
            13,
            "flow.timeouts",
            "nearest known one is \"timeout\"",
        ),
        (
            &[("eal_args = []", "[flow]\ntimeout = 5")],
            13,
            "flow.timeout",
            "expected the section [flow.timeout]",
        ),
        (
            &[("eal_args = []", "[flow.timeout]\nsyn = 0")],
            13,
            "flow.timeout.syn",
            "from 1 to 86400",
        ),
        (
            &[("eal_args = []", "[flow.timeout]\nestablished = 86401")],
            13,
            "flow.timeout.established",
            "86401",
        ),
        (
            &[("eal_args = []", "[flow.timeout]\nclosing = 1.5")],
            13,
            "flow.timeout.closing",
            "is the number 1.5",
        ),
        (
            &[("eal_args = []", "[flow.timeout]\nudp = '60s'")],
            13,
            "flow.timeout.udp",
            "is the string \"60s\"",
        ),
        (
            &[("eal_args = []", "[flow.timeout]\nestablish = 1")],
            13,
            "flow.timeout.establish",
            "nearest known one is \"established\"",
        ),
        (&[("eal_args = []", "[control]\nsocket = ''")], 13, "control.socket", "expected a path"),
        (&[("eal_args = []", "[control]\ngroup = 0")], 13, "control.group", "is the integer 0"),
        (&[("eal_args = []", "[control]\ngroup = ''")], 13, "control.group", "the name of a group"),
        (&[("eal_args = []", "[control]\ngroup = 'a:b'")], 13, "control.group", "without colons"),
        (
            &[("eal_args = []", "[[control]]")],
            12,
            "control",
            "written [control] in single brackets",
        ),
    ]);
    let path = format!("/{}", "a".repeat(107));
    let long = format!("[control]\nsocket = '{path}'");
    each_alone(&[(&[("eal_args = []", &long)], 13, "control.socket", "has 108 bytes")]);
    assert!(parse(&changed(&[("eal_args = []", &long.replace("/a", "/"))])).is_ok());
    let cpus: Vec<u16> = (0..128).collect();
    let many = format!("{cpus:?}");
    each_alone(&[(&[("[1, 2]", &many)], 10, "dpdk.workers", "names 128 CPUs")]);
}

#[test]
fn mistakes_of_the_ports() {
    const AGAIN: &str = "[[neighbor]]\naddress = \"192.0.2.254\"";
    const SECOND: &str =
        "[[port]]\nname = 'x'\ndevice = 'net_null0'\n[[neighbor]]\naddress = \"192.0.2.254\"";
    let none = EXAMPLE.replace("[[port]]", "[[neighbor]]");
    let found = mistakes(&none);
    assert!(
        found.iter().any(|m| m.key == "port" && m.message.contains("there is no port")),
        "{found:?}"
    );
    each_alone(&[
        (&[("[[port]]", "[port]")], 14, "port", "sections [[port]], in double brackets"),
        (&[("name = \"edge0\"\n", "")], 14, "port[0].name", "is missing"),
        (&[("\"edge0\"", "\"edge/0\"")], 15, "port[0].name", "1 to 63"),
        (&[(AGAIN, SECOND), ("'x'", "'edge0'")], 23, "port[1].name", "is \"edge0\" as on line 15"),
        (
            &[(AGAIN, SECOND), ("net_null0", "3b:00.0")],
            24,
            "port[1].device",
            "is \"0000:3b:00.0\" as on line 16",
        ),
        (
            &[(AGAIN, SECOND), ("0000:3b:00.0", "net_null0,size=64")],
            24,
            "port[1].device",
            "is \"net_null0\" as on line 16",
        ),
        (
            &[(AGAIN, SECOND), ("'net_null0'", "'net_null0'\naddresses = ['192.0.2.1/25']")],
            25,
            "port[1].addresses[0]",
            "192.0.2.1 is on line 17 already",
        ),
        (
            &[(AGAIN, SECOND), ("net_null0", "net_bonding0,mode=1,slave=3b:00.0")],
            24,
            "port[1].device",
            "is \"0000:3b:00.0\" as on line 16",
        ),
        (&[("0000:3b:00.0", "net_bonding0,mode=1")], 16, "port[0].device", "needs members"),
        (&[("0000:3b:00.0", "eth0")], 16, "port[0].device", "expected a PCI address"),
        (&[("0000:3b:00.0", "0000:3b:20.0")], 16, "port[0].device", "expected a PCI address"),
        (&[("0000:3b:00.0", "net_")], 16, "port[0].device", "expected a PCI address"),
        (&[("0000:3b:00.0", "net_a\\u0007")], 16, "port[0].device", "control character"),
        (&[("0000:3b:00.0", "net_a,b=\\u0007")], 16, "port[0].device", "control character"),
        (&[("192.0.2.1/24", "192.0.2.1")], 17, "port[0].addresses[0]", "with its prefix length"),
        (&[("192.0.2.1/24", "192.0.2.1/33")], 17, "port[0].addresses[0]", "from 1 to 32"),
        (&[("192.0.2.1/24", "224.0.0.1/24")], 17, "port[0].addresses[0]", "multicast"),
        (
            &[("[\"192.0.2.254\"", "[\"192.0.3.254\"")],
            18,
            "port[0].gateways[0]",
            "lies in none of this port's",
        ),
        (
            &[("[\"192.0.2.254\"", "[\"192.0.2.1\"")],
            18,
            "port[0].gateways[0]",
            "192.0.2.1 is the address of the port on line 17",
        ),
        (
            &[("\"2001:db8::fe\"]", "\"192.0.2.254\", \"2001:db8::fe\"]")],
            18,
            "port[0].gateways[1]",
            "twice",
        ),
        (&[("1500", "575")], 19, "port[0].mtu", "from 576 to 9216"),
        (&[("1500", "1279")], 19, "port[0].mtu", "with an IPv6 address needs 1280"),
        (&[("02:00:00:00:00:01", "03:00:00:00:00:01")], 20, "port[0].mac", "group address"),
        (
            &[("mtu = 1500", "steering = 'rss'")],
            19,
            "port[0].steering",
            "expected \"auto\" or \"queues\" or \"ring\"",
        ),
        (
            &[("mtu = 1500", "rx_descriptors = 100")],
            19,
            "port[0].rx_descriptors",
            "the nearest are 64 and 128",
        ),
        (
            &[("mtu = 1500", "tx_descriptors = 65536")],
            19,
            "port[0].tx_descriptors",
            "from 64 to 32768",
        ),
    ]);
    let mut ports = String::new();
    for index in 0..32 {
        ports += &format!("[[port]]\nname = 'x{index}'\ndevice = 'net_null{index}'\n");
    }
    ports += "[[neighbor]]";
    each_alone(&[(&[("[[neighbor]]", &ports)], 115, "port", "there are 33 ports")]);
}

#[test]
fn mistakes_of_the_interfaces() {
    const SECOND: &str = "[[port]]\nname = 'x'\ndevice = 'net_null0'\n";
    let same = format!("{SECOND}interface = 'edge0'\n[[neighbor]]");
    let default = format!("{SECOND}interface = 'y'\n[[neighbor]]");
    each_alone(&[
        (
            &[("\"edge0\"", "\"sixteen-in-a-row\"")],
            14,
            "port[0].interface",
            "is no name for a device of the kernel; write for example interface = \"edge0\"",
        ),
        (&[("\"edge0\"", "\"none\"")], 14, "port[0].interface", "or \"none\""),
        (&[("\"edge0\"", "\"all\"")], 14, "port[0].interface", "is no name for a device"),
        (
            &[("mtu = 1500", "interface = 'sixteen-in-a-row'")],
            19,
            "port[0].interface",
            "expected 1 to 15 bytes",
        ),
        (&[("mtu = 1500", "interface = 'a/b'")], 19, "port[0].interface", "`/`"),
        (&[("mtu = 1500", "interface = 'tap%d'")], 19, "port[0].interface", "and `%`"),
        (&[("mtu = 1500", "interface = '..'")], 19, "port[0].interface", "expected another name"),
        (
            &[("[[neighbor]]", &same)],
            25,
            "port[1].interface",
            "is \"edge0\" as on line 14; each must have its own",
        ),
        (
            &[
                ("mtu = 1500", "interface = 'x'"),
                ("[[neighbor]]", &format!("{SECOND}[[neighbor]]")),
            ],
            22,
            "port[1].interface",
            "is \"x\" as on line 19",
        ),
        (
            &[
                ("mtu = 1500", "manage_addresses = false"),
                ("gateways", "#"),
                ("[[neighbor]]", &default),
            ],
            17,
            "port[0].addresses",
            "manage_addresses is false; remove these",
        ),
    ]);
}

#[test]
fn mistakes_of_the_neighbors() {
    const TWICE: &str =
        "[[neighbor]]\naddress = '192.0.2.254'\nmac = '02:00:00:00:00:03'\n[[neighbor]]";
    each_alone(&[
        (&[("address = \"192.0.2.254\"\n", "")], 22, "neighbor[0].address", "is missing"),
        (&[("mac = \"02:00:00:00:00:fe\"\n", "")], 22, "neighbor[0].mac", "is missing"),
        (&[("00:fe", "00")], 24, "neighbor[0].mac", "six bytes"),
        (&[("02:00:00:00:00:fe", "00:00:00:00:00:00")], 24, "neighbor[0].mac", "all zeros"),
        (&[("[[neighbor]]", TWICE)], 26, "neighbor[1].address", "is \"192.0.2.254\" as on line 23"),
        (
            &[("address = \"192.0.2.254\"", "address = \"192.0.2.1\"")],
            23,
            "neighbor[0].address",
            "is the address of the port on line 17",
        ),
    ]);
}

#[test]
fn mistakes_of_the_pools() {
    const TWICE: &str = "[[pool]]\nname = 'web'\nbackends = []\n[[service]]";
    each_alone(&[
        (
            &[("name = \"web\"\nenc", "name = \"w b\"\nenc")],
            27,
            "pool[0].name",
            "without white space",
        ),
        (&[("[[service]]", TWICE)], 32, "pool[1].name", "is \"web\" as on line 27"),
        (
            &[("\"gre\"", "\"unknown-encapsulation\"")],
            28,
            "pool[0].encapsulation",
            "is the string \"unknown-encapsulation\"; expected \"gre\" or \"ipip\"",
        ),
        (
            &[("{ name = \"b1\", address = \"10.0.0.5\", weight = 1 }", "\"10.0.0.5\"")],
            29,
            "pool[0].backends[0]",
            "expected a table",
        ),
        (&[("name = \"b1\", ", "")], 29, "pool[0].backends[0].name", "is missing"),
        (&[("b2", "b1")], 29, "pool[0].backends[1].name", "is \"b1\" as on line 29"),
        (
            &[("2001:db8:b::2", "10.0.0.5")],
            29,
            "pool[0].backends[1].address",
            "is \"10.0.0.5\" as on line 29",
        ),
        (&[("10.0.0.5", "::ffff:10.0.0.5")], 29, "pool[0].backends[0].address", "IPv4-mapped"),
        (&[("2001:db8:b::2", "fe80::2")], 29, "pool[0].backends[1].address", "link-local"),
        (
            &[("10.0.0.5", "192.0.2.1")],
            29,
            "pool[0].backends[0].address",
            "packets would come back here",
        ),
        (
            &[("10.0.0.5", "203.0.113.10")],
            29,
            "pool[0].backends[0].address",
            "is the address of the service on line 33",
        ),
        (&[("weight = 1", "weight = -1")], 29, "pool[0].backends[0].weight", "from 0 to 1000000"),
        (
            &[("weight = 1", "wieght = 1")],
            29,
            "pool[0].backends[0].wieght",
            "nearest known one is \"weight\"",
        ),
        (
            &[("weight = 1", "weight = 65537")],
            29,
            "pool[0].backends[1].weight",
            "is 1 of 65538 in the pool, less than one of its 65537 slots; 2 would do, or \
             hash.table_size 65539",
        ),
        (
            &[("weight = 1", "enabled = 1")],
            29,
            "pool[0].backends[0].enabled",
            "expected true or false",
        ),
        (
            &[("weight = 1", "encapsulation = 'ip'")],
            29,
            "pool[0].backends[0].encapsulation",
            "\"gre\"",
        ),
        (
            &[("encapsulation = \"gre\"", "mss_clamp = 535")],
            28,
            "pool[0].mss_clamp",
            "is the integer 535; expected an integer from 536 to 9176, or \"auto\"",
        ),
        (
            &[("= \"gre\"", "= \"gre\"\nmss_clamp = 'Auto'")],
            29,
            "pool[0].mss_clamp",
            "is the string \"Auto\"; expected \"auto\", or an integer from 536 to 9176",
        ),
        (
            &[("\"192.0.2.254\", ", ""), STATIC],
            29,
            "pool[0].backends[0].address",
            "10.0.0.5 cannot be reached: it is in no port's network, and no port has an IPv4 \
             gateway",
        ),
        (
            &[(", \"2001:db8::fe\"", ""), STATIC],
            29,
            "pool[0].backends[1].address",
            "no port has an IPv6 gateway",
        ),
    ]);
    // One below the limit is valid: 65536 and 1 share 65537 slots.
    assert!(parse(&changed(&[("weight = 1", "weight = 65536")])).is_ok());
    let missing = mistakes(&changed(&[("backends = [", "[pool.x]\nbackends = [")]));
    let missing: Vec<&str> = missing.iter().map(|mistake| mistake.key.as_str()).collect();
    assert_eq!(missing, ["pool[0].backends", "pool[0].x"]);
}

/// Three pools without backends before the service: a, b and c, each with further keys.
const POOLS: &str = "[[pool]]\nname = 'a'\nbackends = []\n#a\n[[pool]]\nname = 'b'\nbackends = []\n#b\n\
                     [[pool]]\nname = 'c'\nbackends = []\n#c\n[[service]]";

#[test]
fn mistakes_of_pools_that_name_pools() {
    let all = ("[[service]]", POOLS);
    each_alone(&[
        (
            &[all, ("#a", "pools = ['wbe']")],
            34,
            "pool[1].pools[0]",
            "there is no pool \"wbe\"; the nearest is \"web\"",
        ),
        (&[all, ("#a", "backup = 'wbe'")], 34, "pool[1].backup", "there is no pool \"wbe\""),
        (&[all, ("#a", "pools = ['b', 'b']")], 34, "pool[1].pools[1]", "b is listed twice"),
        (&[all, ("#a", "pools = 'b'")], 34, "pool[1].pools", "expected an array"),
        (
            &[all, ("#a", "pools = ['a']")],
            34,
            "pool[1].pools[0]",
            "pool \"a\" includes itself: a -> a; remove one of these references",
        ),
        (
            &[all, ("#a", "backup = 'a'")],
            34,
            "pool[1].backup",
            "pool \"a\" stands in for itself: a -> a",
        ),
        (
            &[all, ("#a", "pools = ['b']"), ("#b", "pools = ['c']"), ("#c", "pools = ['a']")],
            42,
            "pool[3].pools[0]",
            "pool \"a\" includes itself: a -> b -> c -> a",
        ),
        // A way into the cycle is no part of it.
        (
            &[all, ("#a", "pools = ['b']"), ("#b", "pools = ['c']"), ("#c", "pools = ['b']")],
            42,
            "pool[3].pools[0]",
            "pool \"b\" includes itself: b -> c -> b",
        ),
        (
            &[all, ("#a", "pools = ['b']"), ("#b", "backup = 'a'")],
            38,
            "pool[2].backup",
            "pool \"a\" stands in for itself: a -> b -> a",
        ),
        (
            &[all, ("#a", "pools = ['b']\nbackup = 'b'")],
            35,
            "pool[1].backup",
            "is one of the pools of this pool",
        ),
        (
            &[
                all,
                ("backends = []\n#b", "backends = [{ name = 'x', address = '10.0.0.5' }]"),
                ("#a", "pools = ['web', 'b']"),
            ],
            34,
            "pool[1].pools[1]",
            "10.0.0.5 is a backend of pool \"web\" on line 29 and of pool \"b\" on line 37: a pool \
             can have an address once; remove one of them",
        ),
        // The pool around it only has the consequence.
        (
            &[
                all,
                (
                    "backends = []\n#b",
                    "backends = [{ name = 'x', address = '10.0.0.5' }]\npools = ['web']",
                ),
                ("#a", "pools = ['b']"),
            ],
            38,
            "pool[2].pools[0]",
            "10.0.0.5 is a backend of pool \"b\" on line 37 and of pool \"web\" on line 29",
        ),
        (
            &[all, ("backends = []\n#a", "pools = []\n#a"), ("backends = []\n#b", "#b")],
            35,
            "pool[2].backends",
            "is missing",
        ),
        (
            &[
                all,
                ("65537", "307"),
                ("#a", "pools = ['web', 'b']"),
                (
                    "backends = []\n#b",
                    "backends = [{ name = 'x', address = '10.0.0.6' }, { name = 'y', address = '10.0.0.7' }]",
                ),
            ],
            7,
            "hash.table_size",
            "less than 100 for each of the 4 backends of pool \"a\" on line 31; 401 is the least",
        ),
        (
            &[
                all,
                ("weight = 1", "weight = 65536"),
                ("#a", "pools = ['web', 'b']"),
                ("backends = []\n#b", "backends = [{ name = 'x', address = '10.0.0.6' }]"),
            ],
            29,
            "pool[0].backends[1].weight",
            "is 1 of 65538 in pool \"a\", less than one of its 65537 slots; 2 would do",
        ),
    ]);
    // Any pool may be named several times, and one backend be reached in several ways.
    let diamond = [
        all,
        ("#a", "pools = ['b', 'c']"),
        ("#b", "pools = ['web']"),
        ("#c", "pools = ['web', 'b']"),
    ];
    let pools = parse(&changed(&diamond)).unwrap().configuration.pools;
    let included: Vec<_> = pools[1].included.iter().map(|i| (i.pool, i.backend, i.level)).collect();
    assert_eq!(included, [(0, 0, 0), (0, 1, 0)]);
    assert_eq!((&pools[1].pools[..], &pools[1].levels[..]), (&[2, 3][..], &[1][..]));
    // A backend is on the first of its levels. Another pool may have its address on another level.
    let backends = "backends = [{ name = 'x', address = '10.0.0.5' }]";
    let levels = [
        all,
        ("backends = []\n#a", &format!("{backends}\npools = ['c']\nbackup = 'b'")),
        ("backends = []\n#b", "pools = ['c']\nbackup = 'web'"),
        ("backends = []\n#c", "backends = [{ name = 'y', address = '10.0.0.6' }]"),
    ];
    let pools = parse(&changed(&levels)).unwrap().configuration.pools;
    let included: Vec<_> = pools[1].included.iter().map(|i| (i.pool, i.backend, i.level)).collect();
    assert_eq!(included, [(1, 0, 0), (3, 0, 0), (0, 0, 2), (0, 1, 2)]);
    assert_eq!((&pools[1].pools[..], &pools[1].levels[..]), (&[3][..], &[1, 2, 0][..]));
    assert_eq!(pools[2].levels, [2, 0]);
}

#[test]
fn mistakes_of_states() {
    const SECOND: &str = "[[service]]\nname = 'two'\naddress = '203.0.113.10'\n\
                          protocol = 'udp'\nport = 80\npool = 'web'\n";
    let udp = |keys: &str| format!("{SECOND}{keys}\n[[service]]");
    let udp_keep_for = udp("keep_for = 5");
    each_alone(&[
        (
            &[("\"gre\"", "\"gre\"\nchoice = 'random'")],
            29,
            "pool[0].choice",
            "expected \"maglev\" or",
        ),
        (&[("\"gre\"", "\"gre\"\nmin_active = 0")], 29, "pool[0].min_active", "from 1 to 65535"),
        (
            &[("\"gre\"", "\"gre\"\nbackup_hold = 5")],
            29,
            "pool[0].backup_hold",
            "has no effect without backup",
        ),
        (&[("\"gre\"", "\"gre\"\nslow_start = 0")], 29, "pool[0].slow_start", "from 1 to 3600"),
        (
            &[("\"gre\"", "\"gre\"\nslow_start_curve = 'quadratic'")],
            29,
            "pool[0].slow_start_curve",
            "has no effect without slow_start",
        ),
        (
            &[("\"gre\"", "\"gre\"\non_empty = 'rst'")],
            29,
            "pool[0].on_empty",
            "expected \"drop\" or \"reset\" or \"all\"",
        ),
        (
            &[("port = 80", "port = 80\non_down = 'drop'")],
            36,
            "service[0].on_down",
            "expected \"move\" or \"keep\"",
        ),
        (
            &[("port = 80", "port = 80\non_down = 'move'\nkeep_for = 5")],
            37,
            "service[0].keep_for",
            "has no effect: on_down is \"move\"; set \"keep\"",
        ),
        (&[("[[service]]", &udp_keep_for)], 37, "service[0].keep_for", "by default for UDP"),
        (
            &[("port = 80", "port = 80\nkeep_for = 86401")],
            36,
            "service[0].keep_for",
            "from 1 to 86400",
        ),
        (
            &[("port = 80", "port = 80\ndrain_then = 'reset'")],
            36,
            "service[0].drain_then",
            "without drain_timeout, which TCP does not have by default",
        ),
        (
            &[("eal_args = []", "[control]\nstate_directory = 'state'")],
            13,
            "control.state_directory",
            "expected an absolute path",
        ),
    ]);
    let cluster = ("eal_args = []", "[cluster]\nmembers = ['192.0.2.1', '192.0.2.254']");
    let choice = ("\"gre\"", "\"gre\"\nchoice = 'round-robin'");
    let follow = ("port = 80", "port = 80\nfragments = 'follow'");
    each_alone(&[(
        &[cluster, choice, follow],
        38,
        "service[0].fragments",
        "the pool's choice on line 30 is one in which members of the cluster do not agree",
    )]);
    assert!(parse(&changed(&[choice, follow])).is_ok());
    assert!(parse(&changed(&[cluster, choice])).is_ok());
    for keys in ["drain_then = 'reset'", "drain_timeout = 5", "on_down = 'keep'\nkeep_for = 5"] {
        assert!(parse(&changed(&[("[[service]]", &udp(keys))])).is_ok(), "{keys}");
    }
}

#[test]
fn mistakes_of_the_services() {
    const SECOND: &str = "[[service]]\nname = 'two'\naddress = '203.0.113.10'\n\
                          protocol = 'tcp'\nport = 81\npool = 'web'\n[[service]]";
    each_alone(&[
        (&[("name = \"web\"\naddress", "address")], 31, "service[0].name", "is missing"),
        (&[("203.0.113.10", "203.0.113.10:80")], 33, "service[0].address", "without a port"),
        (&[("203.0.113.10", "ff0e::1")], 33, "service[0].address", "multicast"),
        (&[("\"tcp\"", "\"TCP\"")], 34, "service[0].protocol", "expected \"tcp\" or \"udp\""),
        (&[("port = 80", "port = 0")], 35, "service[0].port", "from 1 to 65535"),
        (&[("port = 80", "port = 65536")], 35, "service[0].port", "from 1 to 65535"),
        (
            &[("port = 80", "port = \"80\"")],
            35,
            "service[0].port",
            "from 1 to 65535, without quotes",
        ),
        (&[("pool = \"web\"\n", "")], 31, "service[0].pool", "is missing"),
        (&[("port = 80", "port = 80\necho = 1")], 36, "service[0].echo", "true or false"),
        (
            &[("port = 80", "port = 80\nanswer_on_link = 1")],
            36,
            "service[0].answer_on_link",
            "true or false",
        ),
        (
            &[("port = 80", "unreachable = 0\nport = 80")],
            35,
            "service[0].unreachable",
            "true or false",
        ),
        (
            &[("pool = \"web\"", "pool = \"wbe\"")],
            36,
            "service[0].pool",
            "there is no pool \"wbe\"; the nearest is \"web\"",
        ),
        (
            &[("[[service]]", SECOND), ("'two'", "'web'")],
            38,
            "service[1].name",
            "is \"web\" as on line 32",
        ),
        (
            &[("[[service]]", SECOND), ("port = 81", "port = 80")],
            39,
            "service[1].address",
            "the service on line 31 has the same address, protocol and port",
        ),
    ]);
    assert!(parse(&changed(&[("[[service]]", SECOND)])).is_ok());
    let udp = [("[[service]]", SECOND), ("port = 81", "port = 80"), ("'tcp'", "'udp'")];
    assert!(parse(&changed(&udp)).is_ok());
}

#[test]
fn mistakes_of_toml_itself() {
    each_alone(&[
        (&[("name = \"lb1\"", "name = lb1")], 2, "", "string values must be quoted"),
        (
            &[("name = \"lb1\"", "name = \"lb1\"\nname = \"lb2\"")],
            3,
            "",
            "duplicate key; this key is set for the second time",
        ),
        (&[("[dpdk]", "[hash]\n[dpdk]")], 9, "", "duplicate key"),
        (&[("name = \"lb1\"", "name = \"lb1")], 2, "", "a string ends with \""),
        (&[("name = \"lb1\"", "name \"lb1\"")], 2, "", "a line is written key = value"),
        (&[("[hash]", "[hash")], 5, "", "unclosed table"),
        (&[("hugepages = true", "hugepages = True")], 11, "", "true and false are written"),
        (&[("[1, 2]", "[01, 2]")], 10, "", "a number does not begin with 0"),
        (&[("[1, 2]", "[1, 2")], 11, "", "missing comma"),
        (&[("pool = \"web\"\n", "pool =")], 36, "", "quoted"),
    ]);
}
