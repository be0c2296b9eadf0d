//! The page, and the documentation.

use std::collections::BTreeSet;
use std::path::Path;

use guideway_chassis::metrics::Kind;

use super::*;
use crate::manager::testing::view;

fn text(scope: &[&str]) -> String {
    let scope = scope.iter().map(|&scope| scope.to_owned()).collect();
    let page = page(&view(), true, &Query { scope, name: Vec::new() }).unwrap();
    String::from_utf8(page.to_vec()).unwrap()
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
    assert_eq!(text(&["node", "vips", "peers"]).lines().count(), text(&[]).lines().count());
    for query in [
        Query { scope: vec!["backends".into()], name: Vec::new() },
        Query { scope: Vec::new(), name: vec!["x".into()] },
    ] {
        assert!(page(&view(), true, &query).is_err(), "{query:?}");
    }
}

#[test]
fn without_a_managed_bird_there_are_no_sessions() {
    let mut view = view();
    view.bgp = Some(guideway_api::BgpMode::External);
    let page = page(&view, false, &Query::default()).unwrap();
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert!(!page.contains("guideway_bgp_") && !page.contains("guideway_bird_up"), "{page}");
    assert!(page.contains("guideway_controller_orders_stored 0\n"));
}
