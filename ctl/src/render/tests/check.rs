//! Tables of checks.

use guideway_api::{
    CheckCode, CheckDetails, CheckResult, CheckRow, CheckRun, CheckState, CheckStep, CheckTotals,
    CheckVia, Checks, Pin,
};

use super::*;

const TIME: &str = "2026-01-02T03:04:05.678Z";

fn result(code: CheckCode, status: Option<u16>, latency_us: u64, detail: &str) -> CheckResult {
    CheckResult { code, status, detail: detail.into(), latency_us, time: TIME.into() }
}

fn row(backend: &str, state: CheckState, seconds: u64) -> CheckRow {
    CheckRow {
        check: "http".into(),
        pool: "web".into(),
        backend: backend.into(),
        address: "10.0.0.5".parse().unwrap(),
        via: CheckVia::Tunnel,
        target: "203.0.113.10:80".into(),
        state,
        since: ago(seconds),
        result: Some(result(CheckCode::L7Ok, Some(200), 1_200, "")),
        against: 0,
        kept: false,
        icmp: None,
    }
}

fn failing() -> Option<CheckResult> {
    Some(result(CheckCode::L7Sts, Some(503), 12_345, "the status is not expected"))
}

/// A backend that is up, one that asks to be drained, two that are down, of which one is kept, and one of which
/// nothing is known.
fn five_rows() -> Vec<CheckRow> {
    vec![
        row("b1", CheckState::Up, 7200),
        CheckRow {
            result: Some(result(CheckCode::L7OkC, Some(404), 900, "")),
            ..row("b2", CheckState::Draining, 60)
        },
        CheckRow { result: failing(), ..row("b3", CheckState::Down, 5) },
        CheckRow {
            result: Some(result(CheckCode::L4Tout, None, 1_000_000, "connect: no answer")),
            kept: true,
            icmp: Some("host unreachable, says 192.0.2.254".into()),
            ..row("b4", CheckState::Down, 5)
        },
        CheckRow {
            check: "alive".into(),
            via: CheckVia::Direct,
            target: "10.0.0.5".into(),
            result: None,
            ..row("b5", CheckState::Unknown, 0)
        },
    ]
}

const ROWS: &str = "\
CHECK  POOL  BACKEND  VIA     TARGET           STATE     SINCE  RESULT
http   web   b1       tunnel  203.0.113.10:80  up           2h  L7OK 200 in 1.2 ms
http   web   b2       tunnel  203.0.113.10:80  draining     1m  L7OKC 404 in 0.9 ms
http   web   b3       tunnel  203.0.113.10:80  down         5s  L7STS 503 in 12 ms: the status is not expected
http   web   b4       tunnel  203.0.113.10:80  down         5s  L4TOUT in 1000 ms: connect: no answer; the pool keeps it; ICMP: host unreachable, says 192.0.2.254
alive  web   b5       direct  10.0.0.5         unknown      0s  -
";

#[test]
fn lists() {
    prints(&Response::Checks(Checks { rows: five_rows(), ..Checks::default() }), ROWS);
    let header = "CHECK  POOL  BACKEND  VIA  TARGET  STATE  SINCE  RESULT\n";
    prints(&Response::Checks(Checks::default()), header);
}

#[test]
fn what_holds_for_all_checks_is_a_note() {
    let checks = Response::Checks(Checks {
        frozen: Some("the forwarder does not answer".into()),
        warnings: vec!["edge0: rp_filter is 1".into()],
        rows: five_rows(),
    });
    let notes = [
        "warning: states do not follow the results: the forwarder does not answer",
        "warning: edge0: rp_filter is 1",
    ];
    prints(&checks, ROWS);
    assert_eq!(render(&checks, Output::Table).notes, notes);
    // The lines are the rows, so they have no place for it.
    let lines = render(&checks, Output::JsonLines);
    assert_eq!((lines.text.lines().count(), &*lines.notes), (5, &notes.map(String::from)[..]));
    assert!(lines.text.starts_with(r#"{"check":"http","pool":"web","backend":"b1","#));
}

#[test]
fn states_have_colours() {
    let screen = Screen { is_terminal: true, has_cursor: true, has_colour: true };
    let backends = BackendView::default();
    let mut view = View { output: Output::Table, screen, backends, look: None };
    let checks = Response::Checks(Checks { rows: five_rows(), ..Checks::default() });
    let text = view.render(&checks).text;
    let lines: Vec<&str> = text.lines().skip(1).collect();
    for (line, colour) in lines.iter().zip([32, 33, 31, 33, 33]) {
        assert!(line.contains(&format!("\x1b[{colour}m")), "{line}");
    }
}

#[test]
fn details() {
    let details = CheckDetails {
        row: CheckRow {
            result: failing(),
            since: TIME.into(),
            against: 2,
            ..row("b3", CheckState::Down, 5)
        },
        sources: ["192.0.2.9:10000", "192.0.2.9:10001"].map(|it| it.parse().unwrap()).to_vec(),
        pools: vec!["web".into(), "api".into()],
        certificate_ends: Some(TIME.into()),
        next_ms: Some(1900),
        results: vec![
            result(CheckCode::L7Sts, Some(503), 12_345, "the status is not expected"),
            result(CheckCode::L7Ok, Some(200), 1_200, ""),
        ],
    };
    prints(
        &Response::Check(details.clone()),
        "\
check             http
pool              web
backend           b3
address           10.0.0.5
via               tunnel
target            203.0.113.10:80
state             down
since             2026-01-02T03:04:05.678Z
against           2
kept              false
pools             web,api
sources           192.0.2.9:10000,192.0.2.9:10001
next              in 1900 ms
certificate_ends  2026-01-02T03:04:05.678Z
icmp              -
result            2026-01-02T03:04:05.678Z L7STS 503 in 12 ms: the status is not expected
result            2026-01-02T03:04:05.678Z L7OK 200 in 1.2 ms
",
    );
    let new = CheckDetails {
        row: CheckRow {
            since: TIME.into(),
            icmp: Some("packet too big, MTU 1400, says 192.0.2.254".into()),
            ..five_rows().swap_remove(4)
        },
        sources: vec![],
        pools: vec!["web".into()],
        certificate_ends: None,
        next_ms: None,
        results: vec![],
    };
    prints(
        &Response::Check(new),
        "\
check             alive
pool              web
backend           b5
address           10.0.0.5
via               direct
target            10.0.0.5
state             unknown
since             2026-01-02T03:04:05.678Z
against           0
kept              false
pools             web
sources           -
next              under way
certificate_ends  -
icmp              packet too big, MTU 1400, says 192.0.2.254
",
    );
}

#[test]
fn single_probes() {
    let step = |step: &str, at_us, detail: &str| CheckStep {
        step: step.into(),
        at_us,
        detail: detail.into(),
    };
    let run = CheckRun {
        check: "http".into(),
        pool: "web".into(),
        backend: "b3".into(),
        target: "203.0.113.10:80".into(),
        via: CheckVia::Tunnel,
        steps: vec![
            step("connect", 400, "from 192.0.2.9:10000"),
            step("request", 480, ""),
            step("response", 12_300, "503 Service Unavailable"),
        ],
        result: result(CheckCode::L7Sts, Some(503), 12_345, "the status is not expected"),
    };
    prints(
        &Response::CheckRan(run.clone()),
        "\
probe      0.0 ms  http/b3 of pool web, through its tunnel, to 203.0.113.10:80
connect    0.4 ms  from 192.0.2.9:10000
request    0.4 ms  -
response  12.3 ms  503 Service Unavailable
L7STS     12.3 ms  status 503: the status is not expected
",
    );
    let direct = CheckRun {
        via: CheckVia::Direct,
        steps: vec![],
        result: result(CheckCode::L4Ok, None, 999, ""),
        ..run
    };
    prints(
        &Response::CheckRan(direct),
        "\
probe  0.0 ms  http/b3 of pool web, directly, to 203.0.113.10:80
L4OK   0.9 ms  -
",
    );
}

#[test]
fn nodes_have_the_totals_of_their_checks() {
    let node = |frozen| guideway_api::Node {
        node: "lb1".into(),
        version: "0.1.0".into(),
        uptime_seconds: 61,
        forwarder: guideway_api::ForwarderState::Well,
        forwarder_since: TIME.into(),
        generation: 3,
        bgp: None,
        drains: vec![],
        announced: 4,
        draining: 5,
        withdrawn: 6,
        restored_routes: 7,
        checks: Some(CheckTotals { unknown: 1, up: 20, draining: 3, down: 4, kept: 2, frozen }),
    };
    let totals = "\
restored_routes  7
checks_up        20
checks_draining  3
checks_down      4
checks_unknown   1
checks_kept      2
";
    let text = render(&Response::Node(node(None)), Output::Table).text;
    assert!(text.ends_with(totals), "{text}");
    let text = render(&Response::Node(node(Some("gwcheck is gone".into()))), Output::Table).text;
    assert!(text.ends_with(&format!("{totals}checks_frozen    gwcheck is gone\n")), "{text}");
}

#[test]
fn pins() {
    let pin = |source: &str, backend: &str| Pin {
        source: source.parse().unwrap(),
        pool: "web".into(),
        backend: backend.into(),
    };
    prints(
        &Response::Pins(vec![pin("192.0.2.9:10000", "b1"), pin("[2001:db8::9]:10001", "b2")]),
        "\
SOURCE               POOL  BACKEND
192.0.2.9:10000      web   b1
[2001:db8::9]:10001  web   b2
",
    );
}
