//! The page, and the documentation.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use guideway_api::{CheckCode, CheckRow, CheckState, CheckVia, Checks};
use guideway_chassis::metrics::Kind;

use super::*;
use crate::check::Histogram;
use crate::manager::testing::view;

fn text(scope: &[&str]) -> String {
    let scope = scope.iter().map(|&scope| scope.to_owned()).collect();
    let page = page(&view(), Some(&snapshot()), true, &Query { scope, name: Vec::new() }).unwrap();
    String::from_utf8(page.to_vec()).unwrap()
}

/// Of three backends one works, one fails and one asks to be drained.
fn snapshot() -> Snapshot {
    let row = |backend: &str, state| CheckRow {
        check: "http".to_owned(),
        pool: "web".to_owned(),
        backend: backend.to_owned(),
        address: [10, 0, 0, 5].into(),
        via: CheckVia::Tunnel,
        target: "203.0.113.10:80".to_owned(),
        state,
        since: String::new(),
        result: None,
        against: 0,
        kept: false,
        icmp: None,
    };
    let mut times = Histogram { count: 7, sum: 20.5, ..Histogram::default() };
    times.buckets[1] = 5;
    Snapshot {
        checks: Checks {
            frozen: Some("it is late".to_owned()),
            warnings: vec!["edge0: rp_filter is 1".to_owned()],
            rows: vec![
                row("b1", CheckState::Up),
                row("b2", CheckState::Down),
                row("b3", CheckState::Draining),
            ],
        },
        targets: 3,
        results: [(("http".into(), CheckCode::L7Sts), 7)].into(),
        times: [("http".into(), times)].into(),
        certificates: vec![(["http".into(), "web".into(), "b1".into()], 1.8e9)],
        panics: ["web".into()].into(),
        pools: ["api".into(), "web".into()].into(),
        late: Duration::from_millis(250),
    }
}

#[test]
fn the_documentation_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, found) = page.split_once(CONTROLLER).expect("the controller's part");
    let expected = reference();
    if std::env::var_os("GUIDEWAY_WRITE_REFERENCE").is_some() {
        std::fs::write(&file, format!("{before}{expected}")).unwrap();
        return;
    }
    let found = format!("{CONTROLLER}{found}");
    let differing = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "docs/metrics.md is stale; run ci/reference.sh: {differing:?}");
}

#[test]
fn names_and_help_follow_the_rules() {
    let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len(), "two metrics have one name");
    for Metric { kind, name, help, .. } in METRICS {
        assert!(name.starts_with("guideway_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(help.ends_with('.') && !help.contains(['\\', '\n', '|', '`']), "{name}: {help}");
    }
}

#[test]
fn a_page_has_each_address_and_each_peer() {
    let page = text(&[]);
    for line in [
        "guideway_controller_forwarder_up 1",
        "guideway_controller_generation 7",
        "guideway_controller_node_drained 0",
        "guideway_controller_orders_stored 1",
        "guideway_controller_restored_routes_total 3",
        "guideway_bird_up 1",
        "guideway_vip_announced{address=\"203.0.113.10\"} 1",
        "guideway_vip_draining{address=\"203.0.113.10\"} 0",
        "guideway_vip_announced{address=\"203.0.113.11\"} 0",
        "guideway_vip_draining{address=\"203.0.113.11\"} 1",
        "guideway_vip_installed{address=\"203.0.113.11\"} 0",
        "guideway_vip_without_quorum{address=\"203.0.113.12\"} 1",
        "guideway_bgp_session_up{peer=\"tor1\"} 1",
        "guideway_bgp_routes_sent{peer=\"tor1\"} 2",
        // BIRD does not know it.
        "guideway_bgp_session_up{peer=\"tor2\"} 0",
        "guideway_bgp_routes_sent{peer=\"tor2\"} 0",
        "guideway_check_up{check=\"http\",pool=\"web\",backend=\"b1\"} 1",
        "guideway_check_up{check=\"http\",pool=\"web\",backend=\"b2\"} 0",
        "guideway_check_up{check=\"http\",pool=\"web\",backend=\"b3\"} 1",
        "guideway_check_results_total{check=\"http\",code=\"L7STS\"} 7",
        "guideway_check_seconds_bucket{check=\"http\",le=\"0.0005\"} 0",
        "guideway_check_seconds_bucket{check=\"http\",le=\"0.001\"} 5",
        "guideway_check_seconds_bucket{check=\"http\",le=\"5\"} 5",
        "guideway_check_seconds_bucket{check=\"http\",le=\"+Inf\"} 7",
        "guideway_check_seconds_sum{check=\"http\"} 20.5",
        "guideway_check_certificate_ends_seconds{check=\"http\",pool=\"web\",backend=\"b1\"} 1800000000",
        "guideway_check_targets 3",
        "guideway_check_late_seconds 0.25",
        "guideway_check_path_problems 1",
        "guideway_checks_frozen 1",
        "guideway_pool_panic{pool=\"api\"} 0",
        "guideway_pool_panic{pool=\"web\"} 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    assert!(!page.contains("guideway_bgp_bfd_up{peer=\"tor2\"}"));
    assert!(page.contains("process_resident_memory_bytes "));
    for metric in METRICS {
        assert!(page.contains(&format!("\n# TYPE {} {}\n", metric.name, metric.kind.name())));
    }
}

#[test]
fn a_scope_narrows_the_page() {
    assert!(text(&["vips"]).lines().all(|line| line.contains("guideway_vip_")));
    assert!(text(&["peers"]).lines().all(|line| line.contains("guideway_bgp_")));
    assert!(!text(&["node"]).contains("203.0.113.10"));
    let is_of_checks =
        |line: &str| line.contains("guideway_check") || line.contains("guideway_pool_panic");
    assert!(text(&["checks"]).lines().all(is_of_checks));
    assert_eq!(
        text(&["node", "vips", "peers", "checks"]).lines().count(),
        text(&[]).lines().count()
    );
    for query in [
        Query { scope: vec!["backends".into()], name: Vec::new() },
        Query { scope: Vec::new(), name: vec!["x".into()] },
    ] {
        assert!(page(&view(), None, true, &query).is_err(), "{query:?}");
    }
}

#[test]
fn without_a_managed_bird_there_are_no_sessions() {
    let mut view = view();
    view.bgp = Some(guideway_api::BgpMode::External);
    let page = page(&view, None, false, &Query::default()).unwrap();
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert!(!page.contains("guideway_bgp_") && !page.contains("guideway_bird_up"), "{page}");
    assert!(page.contains("guideway_controller_orders_stored 0\n"));
}

#[test]
fn without_checks_there_is_nothing_of_them() {
    for checks in [None, Some(&Snapshot::default())] {
        let page = page(&view(), checks, true, &Query::default()).unwrap();
        let page = String::from_utf8(page.to_vec()).unwrap();
        assert!(!page.contains("guideway_check") && !page.contains("panic"), "{page}");
    }
}
