//! Every message of protocol 7 as literal JSON, so that no message changes unnoticed. If a test here must
//! change, `PROTOCOL_VERSION` says whether the version must rise.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use guideway_api::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Checks that the value is written as `wire`, byte for byte, and that `wire` is read as the value.
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, wire: &str) {
    assert_eq!(serde_json::to_string(&value).unwrap(), wire);
    assert_eq!(serde_json::from_str::<T>(wire).unwrap(), value);
}

fn traffic() -> Traffic {
    Traffic { packets: 10, bytes: 6400, flows: 2, live: 1 }
}

#[test]
fn greeting() {
    assert_eq!(PROTOCOL_VERSION, 7);
    assert_eq!(MAX_CONFIGURATION, 16_777_216);
    assert_eq!(MAX_REQUEST, 33_558_528);
    assert_eq!((MAX_CHANGES, MAX_REASON), (65_535, 255));
    assert_eq!((MAX_FOR_SECONDS, MAX_WEIGHT), (31_536_000, 1_000_000));
    same(
        Greeting {
            server: Daemon::Forwarder.name().into(),
            version: "0.1.0".into(),
            protocol: PROTOCOL_VERSION,
        },
        r#"{"server":"guideway","version":"0.1.0","protocol":7}"#,
    );
}

#[test]
fn requests_without_arguments() {
    same(Request::Status {}, r#"{"request":"status"}"#);
    same(Request::ServiceList {}, r#"{"request":"service_list"}"#);
    same(Request::BackendList {}, r#"{"request":"backend_list"}"#);
    same(Request::WorkerList {}, r#"{"request":"worker_list"}"#);
    same(Request::PortList {}, r#"{"request":"port_list"}"#);
    same(Request::PortStats { extended: true }, r#"{"request":"port_stats","extended":true}"#);
    let plain: Request = serde_json::from_str(r#"{"request":"port_stats"}"#).unwrap();
    assert_eq!(plain, Request::PortStats { extended: false });
    same(Request::Stats {}, r#"{"request":"stats"}"#);
    same(Request::ConfigShow {}, r#"{"request":"config_show"}"#);
    same(Request::ConfigReload { reason: None }, r#"{"request":"config_reload"}"#);
    same(Request::InterfaceList {}, r#"{"request":"interface_list"}"#);
    same(Request::NeighborList {}, r#"{"request":"neighbor_list"}"#);
    same(Request::PuntList {}, r#"{"request":"punt_list"}"#);
}

#[test]
fn requests_with_a_configuration() {
    let text = "[node]\nname = \"lb1\"\n".to_string();
    same(
        Request::ConfigCheck { text: text.clone() },
        r#"{"request":"config_check","text":"[node]\nname = \"lb1\"\n"}"#,
    );
    same(
        Request::ConfigApply { text, reason: Some("more servers".into()) },
        r#"{"request":"config_apply","text":"[node]\nname = \"lb1\"\n","reason":"more servers"}"#,
    );
}

#[test]
fn request_backend_set() {
    let one = BackendChange {
        pool: Some("web".into()),
        backend: Some("b1".into()),
        address: None,
        set: BackendOrder::State(SetState::Draining),
        reason: None,
    };
    let wire = r#"{"pool":"web","backend":"b1","set":{"state":"draining"}}"#;
    same(one.clone(), wire);
    same(
        BackendChange { reason: Some("check web: L4TOUT".into()), ..one.clone() },
        r#"{"pool":"web","backend":"b1","set":{"state":"draining"},"reason":"check web: L4TOUT"}"#,
    );
    let plain = format!(r#"{{"request":"backend_set","changes":[{wire}]}}"#);
    let set = Request::BackendSet {
        changes: vec![one],
        source: Source::Operator,
        reason: None,
        for_seconds: None,
    };
    assert_eq!(serde_json::from_str::<Request>(&plain).unwrap(), set, "a person, by default");
    let everywhere = |set| BackendChange {
        pool: None,
        backend: None,
        address: Some("2001:db8:b::2".parse().unwrap()),
        set,
        reason: None,
    };
    same(
        Request::BackendSet {
            changes: vec![
                everywhere(BackendOrder::State(SetState::Down)),
                everywhere(BackendOrder::Weight(3)),
                everywhere(BackendOrder::UnsetState),
                everywhere(BackendOrder::UnsetWeight),
            ],
            source: Source::Controller,
            reason: Some("HTTP 503".into()),
            for_seconds: Some(60),
        },
        concat!(
            r#"{"request":"backend_set","changes":["#,
            r#"{"address":"2001:db8:b::2","set":{"state":"down"}},"#,
            r#"{"address":"2001:db8:b::2","set":{"weight":3}},"#,
            r#"{"address":"2001:db8:b::2","set":"unset_state"},"#,
            r#"{"address":"2001:db8:b::2","set":"unset_weight"}],"#,
            r#""source":"controller","reason":"HTTP 503","for_seconds":60}"#
        ),
    );
}

#[test]
fn the_most_changes_fit_a_request() {
    let change = BackendChange {
        pool: Some("p".repeat(63)),
        backend: Some("b".repeat(63)),
        address: Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
        set: BackendOrder::Weight(MAX_WEIGHT),
        reason: Some("r".repeat(MAX_REASON)),
    };
    let request = Request::BackendSet {
        changes: vec![change; MAX_CHANGES],
        source: Source::Controller,
        reason: Some("r".repeat(MAX_REASON)),
        for_seconds: Some(MAX_FOR_SECONDS),
    };
    let newline = 1;
    assert!(serde_json::to_string(&request).unwrap().len() + newline <= MAX_REQUEST);
}

#[test]
fn requests_of_events_and_the_log() {
    let all = Request::Monitor { since: None, instance: None, kinds: vec![], follow: false };
    same(all, r#"{"request":"monitor","follow":false}"#);
    same(
        Request::Monitor {
            since: Some(7),
            instance: Some(1_767_323_045_678),
            kinds: vec!["link_down".into()],
            follow: true,
        },
        r#"{"request":"monitor","since":7,"instance":1767323045678,"kinds":["link_down"],"follow":true}"#,
    );
    same(Request::LogLevel { level: None, reason: None }, r#"{"request":"log_level"}"#);
    same(
        Request::LogLevel { level: Some(LogLevel::Debug), reason: Some("a trial".into()) },
        r#"{"request":"log_level","level":"debug","reason":"a trial"}"#,
    );
    same(
        Request::Hello { client: "guideway-controller".into(), version: "0.1.0".into() },
        r#"{"request":"hello","client":"guideway-controller","version":"0.1.0"}"#,
    );
}

#[test]
fn responses_of_events_and_the_log() {
    let event = Event {
        sequence: 8,
        time: "2026-01-02T03:04:05.678Z".into(),
        happening: Happening::PoolEmpty { pool: "web".into() },
    };
    same(
        Response::Events(Events {
            instance: 1_767_323_045_678,
            lost: 2,
            events: vec![event],
            more: true,
        }),
        concat!(
            r#"{"response":"events","body":{"instance":1767323045678,"lost":2,"events":[{"sequence":8,"#,
            r#""time":"2026-01-02T03:04:05.678Z","event":"pool_empty","pool":"web"}],"more":true}}"#
        ),
    );
    let change = Event {
        sequence: 9,
        time: "2026-01-02T03:04:05.678Z".into(),
        happening: Happening::Changed {
            uid: 0,
            pid: 7,
            process: "guidewayctl".into(),
            request: "config_reload".into(),
            before: "generation 1".into(),
            after: "generation 2".into(),
            outcome: ChangeOutcome::Late,
            reason: None,
            error: Some("not every worker runs it".into()),
            unrecorded: 0,
        },
    };
    same(
        change,
        concat!(
            r#"{"sequence":9,"time":"2026-01-02T03:04:05.678Z","event":"changed","uid":0,"pid":7,"#,
            r#""process":"guidewayctl","request":"config_reload","before":"generation 1","#,
            r#""after":"generation 2","outcome":"late","error":"not every worker runs it"}"#
        ),
    );
    let client = Event {
        sequence: 10,
        time: "2026-01-02T03:04:05.678Z".into(),
        happening: Happening::ClientConnected {
            client: "c".into(),
            version: "1".into(),
            uid: 0,
            pid: 7,
            unrecorded: 12,
        },
    };
    same(
        client,
        concat!(
            r#"{"sequence":10,"time":"2026-01-02T03:04:05.678Z","event":"client_connected","#,
            r#""client":"c","version":"1","uid":0,"pid":7,"unrecorded":12}"#
        ),
    );
    let level = Response::LogLevel { level: LogLevel::Info };
    same(level, r#"{"response":"log_level","body":{"level":"info"}}"#);
    same(Response::Hello {}, r#"{"response":"hello","body":{}}"#);
}

#[test]
fn events_of_states() {
    let (pool, backend) = (String::from("web"), String::from("b1"));
    let address = "10.0.0.5".parse().unwrap();
    let path = String::from("/var/lib/guideway/backends.json");
    same(
        Happening::BackendState {
            pool: pool.clone(),
            backend: backend.clone(),
            address,
            from: BackendState::Active,
            to: BackendState::Down,
            source: Source::Controller,
            reason: Some("HTTP 503".into()),
        },
        concat!(
            r#"{"event":"backend_state","pool":"web","backend":"b1","address":"10.0.0.5","#,
            r#""from":"active","to":"down","source":"controller","reason":"HTTP 503"}"#
        ),
    );
    same(
        Happening::BackendWeight {
            pool: pool.clone(),
            backend: backend.clone(),
            address,
            from: 1,
            to: 0,
            source: Source::Operator,
            reason: None,
        },
        concat!(
            r#"{"event":"backend_weight","pool":"web","backend":"b1","address":"10.0.0.5","#,
            r#""from":1,"to":0,"source":"operator"}"#
        ),
    );
    same(
        Happening::BackendDrained {
            pool: pool.clone(),
            backend: backend.clone(),
            address,
            seconds: 61,
        },
        concat!(
            r#"{"event":"backend_drained","pool":"web","backend":"b1","address":"10.0.0.5","#,
            r#""seconds":61}"#
        ),
    );
    same(
        Happening::DrainTimeout {
            pool: pool.clone(),
            backend,
            address,
            then: "move".into(),
            flows: 3,
        },
        concat!(
            r#"{"event":"drain_timeout","pool":"web","backend":"b1","address":"10.0.0.5","#,
            r#""then":"move","flows":3}"#
        ),
    );
    same(
        Happening::BackupStandsIn {
            pool: pool.clone(),
            backup: "spare".into(),
            active: 1,
            needed: 2,
        },
        r#"{"event":"backup_stands_in","pool":"web","backup":"spare","active":1,"needed":2}"#,
    );
    same(
        Happening::BackupGivesWay { pool, backup: "spare".into() },
        r#"{"event":"backup_gives_way","pool":"web","backup":"spare"}"#,
    );
    let file = r#""path":"/var/lib/guideway/backends.json""#;
    same(
        Happening::SettingsUnreadable { path: path.clone(), error: "no JSON".into() },
        &format!(r#"{{"event":"settings_unreadable",{file},"error":"no JSON"}}"#),
    );
    same(
        Happening::SettingsIgnored { backends: 2, first: "web/10.0.0.5".into() },
        r#"{"event":"settings_ignored","backends":2,"first":"web/10.0.0.5"}"#,
    );
    same(
        Happening::SettingsUnstored { path: path.clone(), error: "disk full".into() },
        &format!(r#"{{"event":"settings_unstored",{file},"error":"disk full"}}"#),
    );
    same(Happening::SettingsStored { path }, &format!(r#"{{"event":"settings_stored",{file}}}"#));
}

#[test]
fn the_longest_configuration_fits_a_request() {
    // JSON writes no character of TOML in more than two bytes for each of its own.
    let is_toml = |c: char| c >= ' ' && c != '\u{7f}' || "\t\n\r".contains(c);
    for c in (char::MIN..=char::MAX).filter(|&c| is_toml(c)) {
        let written = serde_json::to_string(&c).unwrap().len() - 2;
        assert!(written <= 2 * c.len_utf8(), "{c:?}: {written}");
    }
    let empty = serde_json::to_string(&Request::ConfigCheck { text: String::new() }).unwrap();
    let newline = 1;
    assert!(empty.len() + 2 * MAX_CONFIGURATION + newline <= MAX_REQUEST);
}

#[test]
fn request_flow_list() {
    same(Request::FlowList(FlowFilter::default()), r#"{"request":"flow_list"}"#);
    same(
        Request::FlowList(FlowFilter {
            worker: Some(1),
            backend: Some("b1".into()),
            pool: Some("web".into()),
            state: Some(FlowState::Established),
            flow: Some(FlowTuple {
                source: "[2001:db8::7]:40000".parse().unwrap(),
                destination: "[2001:db8:f::10]:80".parse().unwrap(),
                protocol: Protocol::Tcp,
            }),
            limit: Some(5),
        }),
        concat!(
            r#"{"request":"flow_list","worker":1,"backend":"b1","pool":"web","#,
            r#""state":"established","flow":{"source":"[2001:db8::7]:40000","#,
            r#""destination":"[2001:db8:f::10]:80","protocol":"tcp"},"limit":5}"#
        ),
    );
}

#[test]
fn request_route_show() {
    let show = |pool: Option<&str>| Request::RouteShow {
        backend: "b1".into(),
        pool: pool.map(String::from),
    };
    same(show(None), r#"{"request":"route_show","backend":"b1"}"#);
    same(show(Some("web")), r#"{"request":"route_show","backend":"b1","pool":"web"}"#);
}

#[test]
fn names_of_states_are_those_in_messages() {
    for state in FlowState::ALL {
        same(state, &format!("\"{}\"", state.name()));
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        same(protocol, &format!("\"{}\"", protocol.name()));
    }
    use BackendState::*;
    for state in [Active, Draining, Disabled, Down, Unresolved, Unreachable] {
        same(state, &format!("\"{}\"", state.name()));
    }
    for state in SetState::ALL {
        same(state, &format!("\"{}\"", state.name()));
    }
    for source in [Source::File, Source::Controller, Source::Operator] {
        same(source, &format!("\"{}\"", source.name()));
    }
    for state in PortInterfaceState::ALL {
        same(state, &format!("\"{}\"", state.name()));
    }
    for state in NeighborState::ALL {
        same(state, &format!("\"{}\"", state.name()));
    }
}

#[test]
fn names_lists_every_request() {
    // serde's message lists the variants that it knows, in their order.
    let error = serde_json::from_str::<Request>(r#"{"request":"reboot"}"#).unwrap_err().to_string();
    let known = Request::NAMES.map(|name| format!("`{name}`")).join(", ");
    assert!(error.contains(&format!("expected one of {known} at")), "{error}");
}

#[test]
fn requests_with_unknown_fields_are_refused() {
    for line in [
        r#"{"request":"status","verbose":true}"#,
        r#"{"request":"stats","worker":0}"#,
        r#"{"request":"config_apply","text":"","force":true}"#,
        r#"{"request":"backend_set","changes":[],"force":true}"#,
        r#"{"request":"backend_set","changes":[{"pool":"p","set":"unset_state","all":true}]}"#,
        r#"{"request":"flow_list","colour":"red"}"#,
        r#"{"request":"flow_list","flow":{"source":"192.0.2.1:1","destination":"192.0.2.2:2","protocol":"tcp","vlan":3}}"#,
    ] {
        let error = serde_json::from_str::<Request>(line).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{line}: {error}");
    }
}

#[test]
fn responses_with_unknown_fields_are_accepted() {
    let line = r#"{"response":"flows","body":{"flows":[],"truncated":false,"scanned":7}}"#;
    assert_eq!(serde_json::from_str::<Response>(line).unwrap(), Response::Flows(Flows::default()));
}

#[test]
fn response_status() {
    same(
        Response::Status(Status {
            node: "lb1".into(),
            version: "0.1.0".into(),
            uptime_seconds: 61,
            generation: 3,
            generation_in_force: 2,
            manager_restarts: 1,
            config_path: "/etc/guideway/guideway.toml".into(),
            workers: 2,
            ports: 1,
            services: 4,
            backends: 5,
            flows: 6,
            flow_capacity: 1_048_576,
            fragments_waiting: 9,
            received: u64::MAX,
            transmitted: 8,
            announcing: None,
        }),
        concat!(
            r#"{"response":"status","body":{"node":"lb1","version":"0.1.0","uptime_seconds":61,"#,
            r#""generation":3,"generation_in_force":2,"manager_restarts":1,"#,
            r#""config_path":"/etc/guideway/guideway.toml","workers":2,"ports":1,"services":4,"#,
            r#""backends":5,"flows":6,"flow_capacity":1048576,"#,
            r#""fragments_waiting":9,"#,
            r#""received":18446744073709551615,"transmitted":8}}"#
        ),
    );
}

#[test]
fn response_services() {
    same(
        Response::Services(vec![Service {
            name: "web".into(),
            address: "203.0.113.10".parse().unwrap(),
            protocol: Protocol::Tcp,
            port: 80,
            pool: "web".into(),
            backends: 3,
            serves: true,
            traffic: traffic(),
        }]),
        concat!(
            r#"{"response":"services","body":[{"name":"web","address":"203.0.113.10","#,
            r#""protocol":"tcp","port":80,"pool":"web","backends":3,"serves":true,"#,
            r#""traffic":{"packets":10,"bytes":6400,"flows":2,"live":1}}]}"#
        ),
    );
}

fn backend() -> Backend {
    Backend {
        pool: "web".into(),
        name: "b1".into(),
        address: "2001:db8:b::2".parse().unwrap(),
        weight: 1,
        slow_start: None,
        state: BackendState::Active,
        since: "2026-01-02T03:04:05.678Z".into(),
        source: Source::File,
        reason: None,
        settings: vec![],
        encapsulation: Some("gre".into()),
        encapsulation_choice: Some(EncapsulationChoice {
            listed: vec!["l2".into(), "gre".into()],
            flows_differ_in: FlowField::FlowLabel,
            left_out: vec![LeftOut { encapsulation: "l2".into(), reason: Unsendable::NotOnLink }],
        }),
        share: 0.25,
        next_hop: NextHop::Resolved {
            port: "edge0".into(),
            vlan: None,
            address: "192.0.2.254".parse().unwrap(),
            mac: "02:00:00:00:00:fe".into(),
        },
        traffic: traffic(),
    }
}

#[test]
fn response_backends() {
    let backend = backend();
    same(
        Response::Backends(vec![backend.clone()]),
        concat!(
            r#"{"response":"backends","body":[{"pool":"web","name":"b1","#,
            r#""address":"2001:db8:b::2","weight":1,"state":"active","#,
            r#""since":"2026-01-02T03:04:05.678Z","source":"file","encapsulation":"gre","#,
            r#""encapsulation_choice":{"listed":["l2","gre"],"flows_differ_in":"flow_label","#,
            r#""left_out":[{"encapsulation":"l2","reason":"not_on_link"}]},"#,
            r#""share":0.25,"next_hop":{"state":"resolved","port":"edge0","#,
            r#""address":"192.0.2.254","mac":"02:00:00:00:00:fe"},"#,
            r#""traffic":{"packets":10,"bytes":6400,"flows":2,"live":1}}]}"#
        ),
    );
    let lost = Backend { encapsulation: None, encapsulation_choice: None, ..backend };
    let wire = serde_json::to_string(&lost).unwrap();
    assert!(wire.contains(r#""encapsulation":null,"encapsulation_choice":null,"#), "{wire}");
}

#[test]
fn what_is_set_for_a_backend() {
    let at = "2026-01-02T03:04:05.678Z";
    let down = BackendSetting {
        source: Source::Controller,
        state: Some(SetState::Down),
        weight: None,
        reason: None,
        since: at.into(),
        until: None,
    };
    let weight = BackendSetting {
        source: Source::Operator,
        state: None,
        weight: Some(5),
        reason: Some("a new disk".into()),
        since: at.into(),
        until: Some("2026-01-02T04:04:05.678Z".into()),
    };
    let backend = Backend {
        weight: 5,
        slow_start: Some(0.25),
        state: BackendState::Down,
        source: Source::Controller,
        reason: Some("HTTP 503".into()),
        settings: vec![down, weight],
        encapsulation: None,
        encapsulation_choice: None,
        share: 0.0,
        next_hop: NextHop::Unreachable(Unreachable::NoRoute),
        ..backend()
    };
    same(
        Response::BackendsSet { generation: 7, backends: vec![backend], stored: true },
        concat!(
            r#"{"response":"backends_set","body":{"generation":7,"backends":[{"pool":"web","#,
            r#""name":"b1","address":"2001:db8:b::2","weight":5,"slow_start":0.25,"#,
            r#""state":"down","since":"2026-01-02T03:04:05.678Z","source":"controller","#,
            r#""reason":"HTTP 503","settings":[{"source":"controller","state":"down","#,
            r#""since":"2026-01-02T03:04:05.678Z"},{"source":"operator","weight":5,"#,
            r#""reason":"a new disk","since":"2026-01-02T03:04:05.678Z","#,
            r#""until":"2026-01-02T04:04:05.678Z"}],"encapsulation":null,"#,
            r#""encapsulation_choice":null,"share":0.0,"next_hop":{"state":"unreachable","#,
            r#""reason":"no_route"},"traffic":{"packets":10,"bytes":6400,"flows":2,"live":1}}],"#,
            r#""stored":true}}"#
        ),
    );
}

#[test]
fn reasons_of_a_choice() {
    use FlowField::*;
    same(
        [UdpSourcePort, Own, FlowLabel, SourceAddress, GreKey, Nothing],
        r#"["udp_source_port","own","flow_label","source_address","gre_key","nothing"]"#,
    );
    same([Unsendable::NotOnLink, Unsendable::NoSource], r#"["not_on_link","no_source"]"#);
}

#[test]
fn next_hops_by_their_state() {
    let (port, address) = ("edge0".to_owned(), "2001:db8::fe".parse().unwrap());
    let no_mac = NextHop::NoMac { port: port.clone(), vlan: None, address };
    assert_eq!((no_mac.port(), no_mac.vlan()), (Some("edge0"), None));
    same(no_mac, r#"{"state":"no_mac","port":"edge0","address":"2001:db8::fe"}"#);
    let mac = "02:00:00:00:00:fe".to_owned();
    let tagged = NextHop::Resolved { port: port.clone(), vlan: Some(200), address, mac };
    assert_eq!((tagged.port(), tagged.vlan()), (Some("edge0"), Some(200)));
    same(
        tagged,
        concat!(
            r#"{"state":"resolved","port":"edge0","vlan":200,"address":"2001:db8::fe","#,
            r#""mac":"02:00:00:00:00:fe"}"#
        ),
    );
    for (reason, wire) in [
        (Unreachable::NoRoute, r#""reason":"no_route""#),
        (
            Unreachable::NotAPort { interface: "eth1".into() },
            r#""reason":"not_a_port","interface":"eth1""#,
        ),
        (Unreachable::LinkDown { port }, r#""reason":"link_down","port":"edge0""#),
        (
            Unreachable::Refused { kind: Refusal::Blackhole },
            r#""reason":"refused","kind":"blackhole""#,
        ),
        (Unreachable::Own, r#""reason":"own""#),
    ] {
        same(NextHop::Unreachable(reason), &format!(r#"{{"state":"unreachable",{wire}}}"#));
    }
    let no_link = NextHop::Unreachable(Unreachable::LinkDown { port: "edge0".into() });
    assert_eq!((no_link.port(), no_link.vlan()), (Some("edge0"), None));
    assert_eq!(NextHop::Unreachable(Unreachable::NoRoute).port(), None);
    same(
        [Refusal::Blackhole, Refusal::Unreachable, Refusal::Prohibit],
        r#"["blackhole","unreachable","prohibit"]"#,
    );
}

#[test]
fn response_workers() {
    same(
        Response::Workers(vec![Worker {
            worker: 0,
            cpu: None,
            queues: vec![
                RxQueue { port: "edge0".into(), queue: 0 },
                RxQueue { port: "edge1".into(), queue: 1 },
            ],
            generation: 3,
            received: 1,
            transmitted: 2,
            dropped: 3,
            flows: 4,
            flow_capacity: 5,
            polls: 6,
            busy_polls: 7,
        }]),
        concat!(
            r#"{"response":"workers","body":[{"worker":0,"cpu":null,"#,
            r#""queues":[{"port":"edge0","queue":0},{"port":"edge1","queue":1}],"#,
            r#""generation":3,"received":1,"transmitted":2,"#,
            r#""dropped":3,"flows":4,"flow_capacity":5,"polls":6,"busy_polls":7}]}"#
        ),
    );
}

#[test]
fn response_ports() {
    same(
        Response::Ports(vec![Port {
            name: "edge0".into(),
            device: "0000:3b:00.0".into(),
            driver: "net_ixgbe".into(),
            mac: "02:00:00:00:00:01".into(),
            mtu: 1500,
            link: Link {
                up: true,
                speed_mbps: Some(10_000),
                duplex: Some(Duplex::Full),
                interface: None,
            },
            link_seconds: 86,
            rx_queues: 2,
            tx_queues: 2,
            steering: Steering {
                method: SteeringMethod::Queues { rss: true },
                filled_queues: Some(4),
                crowded_queue: Some(CrowdedQueue { queue: 1, flows: 64 }),
            },
            counters: PortCounters {
                rx_packets: 1,
                rx_bytes: 2,
                rx_missed: 3,
                rx_errors: 4,
                rx_no_buffer: 5,
                tx_packets: 6,
                tx_bytes: 7,
                tx_errors: 8,
            },
            rx_function: Some("Vector AVX2".into()),
            ..Port::default()
        }]),
        concat!(
            r#"{"response":"ports","body":[{"name":"edge0","device":"0000:3b:00.0","#,
            r#""driver":"net_ixgbe","mac":"02:00:00:00:00:01","mtu":1500,"#,
            r#""link":{"up":true,"speed_mbps":10000,"duplex":"full","interface":null},"#,
            r#""link_seconds":86,"rx_queues":2,"tx_queues":2,"#,
            r#""steering":{"method":"queues","rss":true,"filled_queues":4,"#,
            r#""crowded_queue":{"queue":1,"flows":64}},"counters":{"rx_packets":1,"rx_bytes":2,"rx_missed":3,"#,
            r#""rx_errors":4,"rx_no_buffer":5,"tx_packets":6,"tx_bytes":7,"tx_errors":8},"#,
            r#""rx_function":"Vector AVX2","tx_function":null}]}"#
        ),
    );
}

#[test]
fn methods_of_steering() {
    let of = |method| Steering { method, filled_queues: None, crowded_queue: None };
    for (method, wire) in [
        (SteeringMethod::OneWorker, r#""method":"one_worker""#),
        (SteeringMethod::Queues { rss: false }, r#""method":"queues","rss":false"#),
        (SteeringMethod::Ring(RingReason::Configured), r#""method":"ring","reason":"configured""#),
        (SteeringMethod::Ring(RingReason::NoRss), r#""method":"ring","reason":"no_rss""#),
        (
            SteeringMethod::Ring(RingReason::FewQueues { queues: 2, workers: 3 }),
            r#""method":"ring","reason":"few_queues","queues":2,"workers":3"#,
        ),
    ] {
        same(of(method), &format!(r#"{{{wire},"filled_queues":null,"crowded_queue":null}}"#));
    }
}

#[test]
fn links() {
    use InterfaceState::*;
    let interface = Interface { name: Some("eth0".into()), state: NoCarrier };
    same(
        Link { interface: Some(interface), ..Link::default() },
        concat!(
            r#"{"up":false,"speed_mbps":null,"duplex":null,"#,
            r#""interface":{"name":"eth0","state":"no_carrier"}}"#
        ),
    );
    same([Duplex::Full, Duplex::Half], r#"["full","half"]"#);
    same(
        [Up, SetDown, NoCarrier, NotOperational, Removed],
        r#"["up","set_down","no_carrier","not_operational","removed"]"#,
    );
}

#[test]
fn response_port_stats() {
    same(
        Response::PortStats(vec![PortStats {
            name: "edge0".into(),
            counters: BTreeMap::from([("rx_packets".into(), 1), ("tx_packets".into(), 2)]),
            extended: BTreeMap::from([("rx_good_packets".into(), 1)]),
        }]),
        concat!(
            r#"{"response":"port_stats","body":[{"name":"edge0","#,
            r#""counters":{"rx_packets":1,"tx_packets":2},"extended":{"rx_good_packets":1}}]}"#
        ),
    );
}

#[test]
fn every_counter_of_a_port_has_its_name() {
    let counters = PortCounters { rx_packets: 1, tx_errors: 8, ..PortCounters::default() };
    let names = serde_json::to_value(counters.by_name()).unwrap();
    assert_eq!(names, serde_json::to_value(counters).unwrap());
}

#[test]
fn response_stats() {
    same(
        Response::Stats(Stats {
            received: 3,
            transmitted: 2,
            verdicts: BTreeMap::from([("forwarded".into(), 2), ("no_service".into(), 1)]),
            events: BTreeMap::from([("flow_table_full".into(), 0)]),
        }),
        concat!(
            r#"{"response":"stats","body":{"received":3,"transmitted":2,"#,
            r#""verdicts":{"forwarded":2,"no_service":1},"events":{"flow_table_full":0}}}"#
        ),
    );
}

#[test]
fn responses_about_the_configuration() {
    same(
        Response::Config { text: "[node]\n".into(), generation: 3 },
        r#"{"response":"config","body":{"text":"[node]\n","generation":3}}"#,
    );
    same(
        Response::Checked { warnings: vec!["pool web is used by no service".into()] },
        r#"{"response":"checked","body":{"warnings":["pool web is used by no service"]}}"#,
    );
    same(
        Response::Applied { generation: 4, warnings: vec![] },
        r#"{"response":"applied","body":{"generation":4,"warnings":[]}}"#,
    );
}

#[test]
fn response_flows() {
    same(
        Response::Flows(Flows {
            flows: vec![Flow {
                worker: 1,
                tag: "00c0ffee00c0ffee".into(),
                pool: "web".into(),
                backend: "b1".into(),
                state: FlowState::Closing,
                idle_ms: 1234,
            }],
            truncated: true,
        }),
        concat!(
            r#"{"response":"flows","body":{"flows":[{"worker":1,"tag":"00c0ffee00c0ffee","#,
            r#""pool":"web","backend":"b1","state":"closing","idle_ms":1234}],"truncated":true}}"#
        ),
    );
}

#[test]
fn response_interfaces() {
    same(
        Response::Interfaces(vec![
            PortInterface {
                port: "edge0".into(),
                interface: Some("wan0".into()),
                renamed_from: Some("edge0".into()),
                index: Some(7),
                state: PortInterfaceState::Up,
                mac: Some("02:00:00:00:00:01".into()),
                mtu: Some(1500),
                addresses: vec!["192.0.2.1/24".into(), "2001:db8::1/64".into()],
                vlans: vec![VlanDevice {
                    vlan: 200,
                    interface: "edge0.200".into(),
                    up: true,
                    addresses: vec!["198.51.100.1/24".into()],
                }],
                to_kernel: ToKernel { packets: 1, bytes: 2, refused: 3, queue_full: 7 },
                from_kernel: FromKernel { packets: 4, bytes: 5, dropped: 6 },
            },
            PortInterface { port: "edge1".into(), ..PortInterface::default() },
        ]),
        concat!(
            r#"{"response":"interfaces","body":[{"port":"edge0","interface":"wan0","#,
            r#""renamed_from":"edge0","index":7,"state":"up","mac":"02:00:00:00:00:01","#,
            r#""mtu":1500,"addresses":["192.0.2.1/24","2001:db8::1/64"],"#,
            r#""vlans":[{"vlan":200,"interface":"edge0.200","up":true,"#,
            r#""addresses":["198.51.100.1/24"]}],"#,
            r#""to_kernel":{"packets":1,"bytes":2,"refused":3,"queue_full":7},"#,
            r#""from_kernel":{"packets":4,"bytes":5,"dropped":6}},"#,
            r#"{"port":"edge1","interface":null,"renamed_from":null,"index":null,"#,
            r#""state":"none","mac":null,"mtu":null,"addresses":[],"vlans":[],"#,
            r#""to_kernel":{"packets":0,"bytes":0,"refused":0,"queue_full":0},"#,
            r#""from_kernel":{"packets":0,"bytes":0,"dropped":0}}]}"#
        ),
    );
}

#[test]
fn response_neighbors() {
    same(
        Response::Neighbors(vec![Neighbor {
            port: "edge0".into(),
            vlan: Some(200),
            interface: Some("edge0.200".into()),
            address: "198.51.100.7".parse().unwrap(),
            mac: Some("02:00:00:00:00:07".into()),
            state: NeighborState::Reachable,
            managed: true,
            seconds: Some(61),
            backends: 2,
            members: 1,
        }]),
        concat!(
            r#"{"response":"neighbors","body":[{"port":"edge0","vlan":200,"#,
            r#""interface":"edge0.200","address":"198.51.100.7","mac":"02:00:00:00:00:07","#,
            r#""state":"reachable","managed":true,"seconds":61,"backends":2,"members":1}]}"#
        ),
    );
}

#[test]
fn response_route() {
    let route = Route {
        pool: Some("web".into()),
        backend: Some("b1".into()),
        destination: "10.0.0.5".parse().unwrap(),
        learnt: Some(Learnt::Kernel { table: 254, prefix: "10.0.0.0/8".into(), protocol: 12 }),
        gateway: Some("192.0.2.254".parse().unwrap()),
        next_hop: NextHop::NoMac {
            port: "edge0".into(),
            vlan: None,
            address: "192.0.2.254".parse().unwrap(),
        },
        interface: Some("edge0".into()),
        neighbor: Some(NeighborState::Incomplete),
        seconds: Some(5),
    };
    same(
        Response::Route(route.clone()),
        concat!(
            r#"{"response":"route","body":{"pool":"web","backend":"b1","#,
            r#""destination":"10.0.0.5","#,
            r#""learnt":{"from":"kernel","table":254,"prefix":"10.0.0.0/8","protocol":12},"#,
            r#""gateway":"192.0.2.254","#,
            r#""next_hop":{"state":"no_mac","port":"edge0","address":"192.0.2.254"},"#,
            r#""interface":"edge0","neighbor":"incomplete","seconds":5}}"#
        ),
    );
    same(
        [Learnt::StaticOnLink, Learnt::StaticGateway, Learnt::StaticNeighbor],
        r#"[{"from":"static_on_link"},{"from":"static_gateway"},{"from":"static_neighbor"}]"#,
    );
    same(
        Route {
            pool: None,
            backend: None,
            learnt: None,
            gateway: None,
            next_hop: NextHop::Unreachable(Unreachable::NoRoute),
            interface: None,
            neighbor: None,
            seconds: None,
            ..route
        },
        concat!(
            r#"{"pool":null,"backend":null,"destination":"10.0.0.5","learnt":null,"#,
            r#""gateway":null,"next_hop":{"state":"unreachable","reason":"no_route"},"#,
            r#""interface":null,"neighbor":null,"seconds":null}"#
        ),
    );
}

#[test]
fn response_punts() {
    same(
        Response::Punts(vec![Punt {
            class: "routing".into(),
            rate: 1000,
            burst: 100,
            punted: 1,
            limited: 2,
        }]),
        concat!(
            r#"{"response":"punts","body":[{"class":"routing","rate":1000,"burst":100,"#,
            r#""punted":1,"limited":2}]}"#
        ),
    );
}

#[test]
fn response_error() {
    same(
        Response::Error(Error::new(ErrorKind::NotFound, "no backend is named b9")),
        r#"{"response":"error","body":{"kind":"not_found","message":"no backend is named b9"}}"#,
    );
    same(
        Response::Error(Error {
            kind: ErrorKind::Rejected,
            message: "the configuration has 1 mistake".into(),
            details: vec!["line 3: unknown key".into()],
        }),
        concat!(
            r#"{"response":"error","body":{"kind":"rejected","#,
            r#""message":"the configuration has 1 mistake","details":["line 3: unknown key"]}}"#
        ),
    );
    same(ErrorKind::BadRequest, r#""bad_request""#);
    same(ErrorKind::Failed, r#""failed""#);
}
