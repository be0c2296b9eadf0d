use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

/// The lines of a reply, as BIRD 2.0.12 sends it.
fn lines(text: &str) -> Vec<Line> {
    let mut code = 0;
    let line = |line: &str| match line.split_at_checked(5) {
        Some((number, text)) if number.starts_with(|c: char| c.is_ascii_digit()) => {
            code = number[..4].parse().unwrap();
            Line { code, text: text.to_owned() }
        }
        _ => Line { code, text: line.get(1..).unwrap_or("").to_owned() },
    };
    text.lines().map(line).collect()
}

const SESSIONS: &str = "\
2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     2026-11-30T07:21:10.001+0000  
1006-
1002-kernel4    Kernel     vips4      up     2026-11-30T07:21:10.001+0000  
1006-  Channel ipv4
     State:          UP
     Table:          vips4
     Routes:         9 imported, 8 exported, 7 preferred
 
1002-to_tor1    BGP        ---        up     2026-11-30T08:21:12.345+0100  Established   
1006-  BGP state:          Established
     Neighbor address: 10.9.1.254
     Neighbor AS:      65000
     Local AS:         65001
     Neighbor ID:      10.9.1.254
     Session:          external AS4
     Source address:   10.9.1.1
     Hold timer:       6.789/9
     Keepalive timer:  1.234/3
   Channel ipv4
     State:          UP
     Table:          vips4
     Routes:         0 imported, 2 exported, 0 preferred
     Route change stats:     received   rejected   filtered    ignored   accepted
       Export updates:              2          0          0        ---          2
     BGP Next hop:   10.9.1.1
   Channel ipv6
     State:          UP
     Routes:         0 imported, 3 filtered, 1 exported, 0 preferred
     BGP Next hop:   fd09:1::1 fe80::1
 
1002-to_tor2    BGP        ---        start  2026-11-30T07:21:10.001+0000  Active        Socket: Connection refused
1006-  Message:        \"gone\"
     BGP state:          Active
     Neighbor address: 10.9.1.2
     Last error:       Socket: Connection refused
   Channel ipv4
     State:          DOWN
 
1002-to_tor3    BGP        ---        down   garbage  
1006-  BGP state:          Sleeping
 
0000 
";

#[test]
fn sessions_are_read() {
    let sessions = sessions(&lines(SESSIONS));
    let names: Vec<&str> = sessions.keys().map(String::as_str).collect();
    assert_eq!(names, ["to_tor1", "to_tor2", "to_tor3"]);
    let time = |text: &str| Some(humantime::parse_rfc3339(text).unwrap());
    assert_eq!(
        sessions["to_tor1"],
        Shown {
            state: Some(BgpState::Established),
            since: time("2026-11-30T07:21:12.345Z"),
            error: None,
            message: None,
            routes: 3,
            hold_time: Some(9),
            keepalive: Some(3),
            source: Some("10.9.1.1".parse().unwrap()),
            next_hops: BTreeMap::from([
                (Family::V4, "10.9.1.1".parse().unwrap()),
                (Family::V6, "fd09:1::1".parse().unwrap()),
            ]),
        }
    );
    assert_eq!(
        sessions["to_tor2"],
        Shown {
            state: Some(BgpState::Active),
            since: time("2026-11-30T07:21:10.001Z"),
            error: Some("Socket: Connection refused".to_owned()),
            message: Some("\"gone\"".to_owned()),
            ..Shown::default()
        }
    );
    assert_eq!(sessions["to_tor3"], Shown::default());
}

#[test]
fn times_have_a_zone() {
    let seconds =
        |text: &str| time(text).map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64());
    assert_eq!(seconds("1970-01-02T00:00:00.500+0000"), Some(86_400.5));
    assert_eq!(seconds("1970-01-02T00:00:00.500+0530"), Some(86_400.5 - 19_800.0));
    assert_eq!(seconds("1970-01-02T00:00:00.500-0800"), Some(86_400.5 + 28_800.0));
    for wrong in ["", "07:00:00", "1970-01-02T00:00:00", "1970-01-02T00:00:00*0000", "<error>"] {
        assert_eq!(seconds(wrong), None, "{wrong}");
    }
    // The earliest time, and one before it.
    assert_eq!(seconds("1970-01-01T00:00:00+0000"), Some(0.0));
    assert_eq!(time("1970-01-01T00:00:0é+0000"), None);
}

#[test]
fn bfd_sessions_are_read() {
    let text = "\
1020-bfd1:
 IP address                Interface  State      Since         Interval  Timeout
 10.9.1.254                n0         Up         2026-11-30T07:21:12.345+0000    0.100    0.300
 fd09:1::fe                n0         Down       2026-11-30T07:21:12.345+0000    1.000    0.000
 10.77.0.1                 ---        Init       2026-11-30T07:21:12.345+0000    1.000    0.000
0000 
";
    let expected = [("10.9.1.254", true), ("fd09:1::fe", false), ("10.77.0.1", false)];
    let expected = expected.map(|(address, is_up)| (address.parse().unwrap(), is_up));
    assert_eq!(bfd(&lines(text)), BTreeMap::from(expected));
}

#[test]
fn routes_are_read() {
    let text = "\
1007-Table vips4:
 203.0.113.2/32       unicast [kernel4 07:21:12.345] * (10)
 \tdev gwvip
1008-\tType: inherit univ
1012-\tKernel.source: 200
 \tKernel.metric: 2000
 \tBGP.as_path: 65001
 \tBGP.med: 1000
 \tBGP.community: (65001,7) (65535,0)
1007-203.0.113.1/32       unicast [kernel4 07:21:12.345] * (10)
 \tdev gwvip
1012-\tBGP.next_hop: 10.9.1.77
 \tBGP.community: (65535,00) (1,65535)
1007-203.0.113.128/25     unicast [kernel4 07:21:12.345] * (10)
1007-
 Table vips6:
 2001:db8:f::1/128    unicast [kernel6 07:21:12.345] * (10)
1012-\tBGP.next_hop: fd09:1::77
0000 
";
    let own = BTreeMap::from([(Family::V4, "10.9.1.1".parse().unwrap())]);
    let route = |address: &str, draining, hop: &str| SentRoute {
        address: address.parse().unwrap(),
        draining,
        next_hop: Some(hop.parse().unwrap()),
    };
    assert_eq!(
        routes(&lines(text), &own),
        [
            route("203.0.113.1", false, "10.9.1.77"),
            route("203.0.113.2", true, "10.9.1.1"),
            route("2001:db8:f::1", false, "fd09:1::77"),
        ]
    );
}

/// Words that the readers look for, and others.
fn any_text() -> impl Strategy<Value = String> {
    let words = [
        "to_a",
        "BGP",
        "Channel ipv4",
        "Routes:",
        "1 exported",
        ",",
        "Hold timer:",
        "/9",
        ":",
        "\t",
        "BGP Next hop:",
        "1.2.3.4/32",
        "::/128",
        "BGP.community:",
        "(65535,0)",
        "BGP state: Up",
        "BGP.next_hop:",
        "99999999999999999999 exported",
        "é",
        "2026-11-30T07:21:12+0000",
    ];
    let word = prop_oneof![prop::sample::select(words.to_vec()).prop_map(str::to_owned), ".{0,8}"];
    prop::collection::vec(word, 0..8).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_lines_are_read(
        lines in prop::collection::vec(
            (prop::sample::select(vec![1002_u16, 1006, 1007, 1012, 1020, 0]), any_text()),
            0..30,
        ),
    ) {
        let lines: Vec<Line> =
            lines.into_iter().map(|(code, text)| Line { code, text }).collect();
        let sessions = sessions(&lines);
        prop_assert!(sessions.len() <= lines.len());
        prop_assert!(bfd(&lines).len() <= lines.len());
        prop_assert!(routes(&lines, &BTreeMap::new()).len() <= lines.len());
    }
}
