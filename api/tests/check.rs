//! The messages about checks as literal JSON, so that no message changes unnoticed; the others are in `wire.rs`.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::fmt::Debug;

use guideway_api::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Checks that the value is written as `wire`, byte for byte, and that `wire` is read as the value.
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, wire: &str) {
    assert_eq!(serde_json::to_string(&value).unwrap(), wire);
    assert_eq!(serde_json::from_str::<T>(wire).unwrap(), value);
}

const TIME: &str = "2026-01-02T03:04:05.678Z";

fn pin() -> Pin {
    Pin { source: "192.0.2.9:10000".parse().unwrap(), pool: "web".into(), backend: "b1".into() }
}

#[test]
fn pins() {
    let wire = r#"{"source":"192.0.2.9:10000","pool":"web","backend":"b1"}"#;
    same(
        Request::PinSet {
            pins: vec![pin()],
            removed: vec!["[2001:db8::9]:10001".parse().unwrap()],
            only: true,
        },
        &format!(
            r#"{{"request":"pin_set","pins":[{wire}],"removed":["[2001:db8::9]:10001"],"only":true}}"#
        ),
    );
    let plain = Request::PinSet { pins: vec![pin()], removed: vec![], only: false };
    let line = format!(r#"{{"request":"pin_set","pins":[{wire}]}}"#);
    assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), plain);
    assert!(plain.is_change() && plain.daemon() == Some(Daemon::Forwarder));
    same(Request::PinList {}, r#"{"request":"pin_list"}"#);
    assert!(!Request::PinList {}.is_change());
    same(
        Response::PinsSet { generation: 7, pins: 2 },
        r#"{"response":"pins_set","body":{"generation":7,"pins":2}}"#,
    );
    same(Response::Pins(vec![pin()]), &format!(r#"{{"response":"pins","body":[{wire}]}}"#));
    for line in [
        r#"{"request":"pin_set","pins":[],"all":true}"#,
        r#"{"request":"pin_set","pins":[{"source":"192.0.2.9:1","pool":"p","backend":"b","via":"gre"}]}"#,
        r#"{"request":"pin_list","pool":"web"}"#,
    ] {
        let error = serde_json::from_str::<Request>(line).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{line}: {error}");
    }
}

#[test]
fn the_most_pins_fit_a_request() {
    let source = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
    let pin = Pin { source, pool: "p".repeat(63), backend: "b".repeat(63) };
    let request = Request::PinSet {
        pins: vec![pin; MAX_CHANGES],
        removed: vec![source; MAX_CHANGES],
        only: true,
    };
    let newline = 1;
    assert!(serde_json::to_string(&request).unwrap().len() + newline <= MAX_REQUEST);
}

#[test]
fn requests() {
    same(Request::CheckList {}, r#"{"request":"check_list"}"#);
    let (check, backend) = (String::from("http"), String::from("b1"));
    let show = |pool| Request::CheckShow { check: check.clone(), backend: backend.clone(), pool };
    same(show(None), r#"{"request":"check_show","check":"http","backend":"b1"}"#);
    same(
        show(Some("web".into())),
        r#"{"request":"check_show","check":"http","backend":"b1","pool":"web"}"#,
    );
    let run = |pool| Request::CheckRun { check: check.clone(), backend: backend.clone(), pool };
    same(run(None), r#"{"request":"check_run","check":"http","backend":"b1"}"#);
    same(
        run(Some("web".into())),
        r#"{"request":"check_run","check":"http","backend":"b1","pool":"web"}"#,
    );
    for (request, is_change) in
        [(Request::CheckList {}, false), (show(None), false), (run(None), true)]
    {
        assert_eq!(request.is_change(), is_change, "{request:?}");
        assert_eq!(request.daemon(), Some(Daemon::Controller));
    }
    for line in [
        r#"{"request":"check_list","pool":"web"}"#,
        r#"{"request":"check_show","check":"http","backend":"b1","via":"direct"}"#,
        r#"{"request":"check_run","check":"http","backend":"b1","count":3}"#,
    ] {
        let error = serde_json::from_str::<Request>(line).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{line}: {error}");
    }
}

#[test]
fn names_are_those_in_messages() {
    for state in CheckState::ALL {
        same(state, &format!("\"{}\"", state.name()));
    }
    for code in CheckCode::ALL {
        same(code, &format!("\"{}\"", code.name()));
    }
    for via in [CheckVia::Tunnel, CheckVia::Direct] {
        same(via, &format!("\"{}\"", via.name()));
    }
    let well = CheckCode::ALL.into_iter().filter(|code| code.is_success());
    use CheckCode::*;
    assert_eq!(well.collect::<Vec<_>>(), [L4Ok, L6Ok, L7Ok, L7OkC]);
}

fn failure() -> CheckResult {
    CheckResult {
        code: CheckCode::L7Sts,
        status: Some(503),
        detail: "the status is not expected".into(),
        latency_us: 12_345,
        time: TIME.into(),
    }
}

const FAILURE: &str = concat!(
    r#"{"code":"L7STS","status":503,"detail":"the status is not expected","latency_us":12345,"#,
    r#""time":"2026-01-02T03:04:05.678Z"}"#
);

fn row() -> CheckRow {
    CheckRow {
        check: "http".into(),
        pool: "web".into(),
        backend: "b1".into(),
        address: "10.0.0.5".parse().unwrap(),
        via: CheckVia::Tunnel,
        target: "203.0.113.10:80".into(),
        state: CheckState::Down,
        since: TIME.into(),
        result: Some(failure()),
        against: 1,
        kept: true,
        icmp: Some("host unreachable, says 192.0.2.254".into()),
    }
}

const ROW: &str = concat!(
    r#"{"check":"http","pool":"web","backend":"b1","address":"10.0.0.5","via":"tunnel","#,
    r#""target":"203.0.113.10:80","state":"down","since":"2026-01-02T03:04:05.678Z","#,
    r#""result":{"code":"L7STS","status":503,"detail":"the status is not expected","#,
    r#""latency_us":12345,"time":"2026-01-02T03:04:05.678Z"},"against":1,"kept":true,"#,
    r#""icmp":"host unreachable, says 192.0.2.254"}"#
);

#[test]
fn results() {
    same(failure(), FAILURE);
    same(
        CheckResult {
            code: CheckCode::L4Ok,
            status: None,
            detail: String::new(),
            latency_us: 400,
            time: TIME.into(),
        },
        r#"{"code":"L4OK","latency_us":400,"time":"2026-01-02T03:04:05.678Z"}"#,
    );
}

#[test]
fn lists() {
    same(
        Response::Checks(Checks {
            frozen: Some("the forwarder does not answer".into()),
            warnings: vec!["edge0: rp_filter is 1".into()],
            rows: vec![row()],
        }),
        &format!(
            concat!(
                r#"{{"response":"checks","body":{{"frozen":"the forwarder does not answer","#,
                r#""warnings":["edge0: rp_filter is 1"],"rows":[{}]}}}}"#
            ),
            ROW
        ),
    );
    same(Response::Checks(Checks::default()), r#"{"response":"checks","body":{"rows":[]}}"#);
    same(
        CheckRow {
            via: CheckVia::Direct,
            target: "10.0.0.5".into(),
            state: CheckState::Unknown,
            result: None,
            against: 0,
            kept: false,
            icmp: None,
            ..row()
        },
        concat!(
            r#"{"check":"http","pool":"web","backend":"b1","address":"10.0.0.5","via":"direct","#,
            r#""target":"10.0.0.5","state":"unknown","since":"2026-01-02T03:04:05.678Z","#,
            r#""against":0,"kept":false}"#
        ),
    );
}

#[test]
fn details() {
    same(
        Response::Check(CheckDetails {
            row: row(),
            sources: vec![pin().source],
            pools: vec!["web".into(), "api".into()],
            certificate_ends: Some(TIME.into()),
            next_ms: Some(250),
            results: vec![failure()],
        }),
        &format!(
            concat!(
                r#"{{"response":"check","body":{{"row":{},"sources":["192.0.2.9:10000"],"#,
                r#""pools":["web","api"],"certificate_ends":"2026-01-02T03:04:05.678Z","#,
                r#""next_ms":250,"results":[{}]}}}}"#
            ),
            ROW, FAILURE
        ),
    );
    same(
        CheckDetails {
            row: row(),
            sources: vec![],
            pools: vec![],
            certificate_ends: None,
            next_ms: None,
            results: vec![],
        },
        &format!(r#"{{"row":{ROW},"pools":[],"results":[]}}"#),
    );
}

#[test]
fn single_probes() {
    let step = |step: &str, at_us, detail: &str| CheckStep {
        step: step.into(),
        at_us,
        detail: detail.into(),
    };
    same(
        Response::CheckRan(CheckRun {
            check: "http".into(),
            pool: "web".into(),
            backend: "b1".into(),
            target: "203.0.113.10:80".into(),
            via: CheckVia::Tunnel,
            steps: vec![step("connect", 400, ""), step("response", 12_300, "503")],
            result: failure(),
        }),
        &format!(
            concat!(
                r#"{{"response":"check_ran","body":{{"check":"http","pool":"web","backend":"b1","#,
                r#""target":"203.0.113.10:80","via":"tunnel","steps":["#,
                r#"{{"step":"connect","at_us":400}},"#,
                r#"{{"step":"response","at_us":12300,"detail":"503"}}],"result":{}}}}}"#
            ),
            FAILURE
        ),
    );
}

#[test]
fn totals() {
    let totals = CheckTotals { unknown: 1, up: 2, draining: 3, down: 4, kept: 1, frozen: None };
    let wire = r#"{"unknown":1,"up":2,"draining":3,"down":4,"kept":1}"#;
    same(totals.clone(), wire);
    same(
        CheckTotals { frozen: Some("late".into()), ..totals.clone() },
        r#"{"unknown":1,"up":2,"draining":3,"down":4,"kept":1,"frozen":"late"}"#,
    );
    let node = format!(
        concat!(
            r#"{{"node":"lb1","version":"0.1.0","uptime_seconds":61,"forwarder":"well","#,
            r#""forwarder_since":"2026-01-02T03:04:05.678Z","generation":3,"announced":4,"#,
            r#""draining":5,"withdrawn":6,"restored_routes":7,"checks":{}}}"#
        ),
        wire
    );
    let node: Node = serde_json::from_str(&node).unwrap();
    assert_eq!(node.checks, Some(totals));
}

#[test]
fn events() {
    let (check, pool) = (String::from("http"), String::from("web"));
    let (backend, address) = (String::from("b1"), "10.0.0.5".parse().unwrap());
    let place = r#""check":"http","pool":"web","backend":"b1","address":"10.0.0.5""#;
    let state = |to, code, status, detail: &str, latency_us| Happening::CheckState {
        check: check.clone(),
        pool: pool.clone(),
        backend: backend.clone(),
        address,
        from: CheckState::Up,
        to,
        code,
        status,
        detail: detail.into(),
        latency_us,
    };
    for (happening, wire) in [
        (
            state(CheckState::Down, Some(CheckCode::L7Sts), Some(503), "no", 12_345),
            format!(
                concat!(
                    r#""check_state",{},"from":"up","to":"down","code":"L7STS","status":503,"#,
                    r#""detail":"no","latency_us":12345"#
                ),
                place
            ),
        ),
        (
            state(CheckState::Unknown, None, None, "", 0),
            format!(r#""check_state",{place},"from":"up","to":"unknown""#),
        ),
        (Happening::CheckStates { backends: 7 }, r#""check_states","backends":7"#.to_owned()),
        (
            Happening::CheckFailed {
                check: check.clone(),
                pool: pool.clone(),
                backend: backend.clone(),
                address,
                code: CheckCode::L4Con,
                status: None,
                detail: "connect: refused".into(),
                latency_us: 400,
            },
            format!(
                r#""check_failed",{place},"code":"L4CON","detail":"connect: refused","latency_us":400"#
            ),
        ),
        (
            Happening::ChecksFrozen { via: None, cause: "late".into() },
            r#""checks_frozen","cause":"late""#.to_owned(),
        ),
        (
            Happening::ChecksFrozen { via: Some(CheckVia::Tunnel), cause: "no gwcheck".into() },
            r#""checks_frozen","via":"tunnel","cause":"no gwcheck""#.to_owned(),
        ),
        (
            Happening::ChecksResumed { via: Some(CheckVia::Tunnel), seconds: 7 },
            r#""checks_resumed","via":"tunnel","seconds":7"#.to_owned(),
        ),
        (
            Happening::PoolPanic { pool: pool.clone(), failing: 2, backends: 3 },
            r#""pool_panic","pool":"web","failing":2,"backends":3"#.to_owned(),
        ),
        (
            Happening::PoolCalm { pool: pool.clone(), failing: 1 },
            r#""pool_calm","pool":"web","failing":1"#.to_owned(),
        ),
        (
            Happening::CheckPath { interface: "edge0".into(), problem: "rp_filter is 1".into() },
            r#""check_path","interface":"edge0","problem":"rp_filter is 1""#.to_owned(),
        ),
        (
            Happening::ChecksFirstOver { targets: 7 },
            r#""checks_first_over","targets":7"#.to_owned(),
        ),
    ] {
        same(happening, &format!(r#"{{"event":{wire}}}"#));
    }
}
