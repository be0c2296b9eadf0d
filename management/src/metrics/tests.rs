//! The page, read again by a parser of the text format that shares nothing with what writes it.

mod model;
mod page;
mod rig;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use guideway_chassis::metrics::CONTROLLER;

use super::*;
use page::Page;
use rig::{Rig, query};

#[test]
fn the_documentation_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(&file).unwrap();
    // What follows is the controller's, and a test of that.
    let (found, rest) = page.split_once(CONTROLLER).expect("the controller's part");
    let expected = reference();
    if std::env::var_os("GUIDEWAY_WRITE_REFERENCE").is_some() {
        std::fs::write(&file, format!("{expected}{CONTROLLER}{rest}")).unwrap();
        return;
    }
    let differing = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "docs/metrics.md is stale; run ci/reference.sh: {differing:?}");
}

/// Prometheus's rules for names, as far as they can be checked here; `promtool check metrics` has more.
#[test]
fn names_labels_and_help_follow_the_rules() {
    let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len(), "two metrics have one name");
    for Metric { kind, name, help, labels, watch, .. } in METRICS {
        assert!(name.starts_with("guideway_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        let words = ["_rate", "_ratio", "percent", "_ms", "milli", "micro", "_mbps", "kilo"];
        assert!(words.iter().all(|word| !name.contains(word)), "{name}");
        assert!(help.ends_with('.') && help.len() > 5, "{name}: {help}");
        assert!(
            help.starts_with(|first: char| first.is_uppercase() || first == '1'),
            "{name}: {help}"
        );
        assert!(!help.contains(['\\', '\n', '|', '`']), "{name}: {help}");
        assert!(!(labels.contains(&"service") && labels.contains(&"backend")), "{name}");
        assert!(labels.iter().all(|label| !["client", "source", "flow"].contains(label)), "{name}");
        if let Watch::Alerts(alerts) = watch {
            assert!(alerts.iter().all(|alert| alert.starts_with("Guideway")), "{name}: {alerts:?}");
        }
    }
}

/// The two ways of writing a family write the same text.
#[test]
fn both_ways_of_writing_a_family_agree() {
    let rig = Rig::new(rig::SAMPLE);
    rig.traffic(0, "web", 7);
    let text = rig.page();
    let page = Page::parse(&text);
    for (name, family) in &page.families {
        let mut written = prometheus::proto::MetricFamily::default();
        written.set_name(name.clone());
        written.set_help(family.help.clone());
        let kind = match family.kind.as_str() {
            "counter" => prometheus::proto::MetricType::COUNTER,
            "gauge" => prometheus::proto::MetricType::GAUGE,
            // The crate wrote it.
            _ => continue,
        };
        written.set_field_type(kind);
        let samples = family.samples.iter().map(|sample| {
            let mut metric = prometheus::proto::Metric::default();
            let pair = |(name, value): &(String, String)| {
                let mut pair = prometheus::proto::LabelPair::default();
                pair.set_name(name.clone());
                pair.set_value(value.clone());
                pair
            };
            metric.set_label(sample.labels.iter().map(pair).collect());
            let mut counter = prometheus::proto::Counter::default();
            let mut gauge = prometheus::proto::Gauge::default();
            counter.set_value(sample.value);
            gauge.set_value(sample.value);
            match kind {
                prometheus::proto::MetricType::COUNTER => metric.set_counter(counter),
                _ => metric.set_gauge(gauge),
            }
            metric
        });
        written.set_metric(samples.collect());
        let expected = prometheus::TextEncoder::new().encode_to_string(&[written]).unwrap();
        assert!(text.contains(&expected), "{name}: the crate writes\n{expected}");
    }
}

#[test]
fn labels_are_escaped_and_read_back() {
    let names = [r#"back\slash"#, r#"qu"ote"#, "snow\u{2603}man", r#"a",pool="b"#, "}{=,#"];
    for name in names {
        let rig = Rig::new(&rig::SAMPLE.replace("\"web\"", &format!("{name:?}")));
        let page = rig.parsed();
        let services = page.samples("guideway_service_packets_total");
        assert!(services.iter().any(|sample| sample.label("service") == name), "{name}");
        let narrow = Page::parse(&rig.narrowed(&query(&[], &[name])));
        assert_eq!(narrow.samples("guideway_service_flows").len(), 1, "{name}");
        assert_eq!(narrow.samples("guideway_pool_flows").len(), 1, "{name}");
        assert_eq!(narrow.samples("guideway_backend_flows").len(), 3, "{name}");
    }
}

/// Nothing is on a page that the list lacks, and nothing is in the list that no page has.
#[test]
fn the_page_has_the_list_and_nothing_else() {
    let rig = Rig::new(rig::SAMPLE);
    let page = rig.parsed();
    for metric in METRICS {
        let family = page.families.get(metric.name);
        let family = family.unwrap_or_else(|| panic!("{} is on no page", metric.name));
        assert_eq!(family.kind, metric.kind.name(), "{}", metric.name);
        assert_eq!(family.help, metric.help);
        for sample in &family.samples {
            let names = sample.labels.iter().map(|(name, _)| name.as_str());
            let names: Vec<_> = names.filter(|name| *name != "le").collect();
            assert_eq!(names, metric.labels, "{}", metric.name);
        }
    }
    assert_eq!(page.families.len(), METRICS.len());
    let order: Vec<_> = rig
        .page()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
        .collect();
    assert_eq!(order, METRICS.iter().map(|metric| metric.name).collect::<Vec<_>>());
    assert_eq!(page.value("guideway_scrape_series", &[]), page.series() as f64);
}

/// In a quiet moment every number of the page is that of the listing.
#[test]
fn the_page_agrees_with_the_listings() {
    use guideway_api::{Request, Response};
    let rig = Rig::new(rig::SAMPLE);
    for (worker, packets) in [(0, 5), (1, 9), (0, 2)] {
        rig.traffic(worker, "web", packets);
        rig.traffic(worker, "dns", packets * 2);
    }
    let page = rig.parsed();
    let Response::Stats(stats) = rig.daemon.handle(Request::Stats {}) else { panic!() };
    assert_eq!(page.value("guideway_packets_received_total", &[]), stats.received as f64);
    assert_eq!(page.value("guideway_packets_transmitted_total", &[]), stats.transmitted as f64);
    for (name, &count) in &stats.verdicts {
        let verdict = page.value("guideway_verdicts_total", &[("verdict", name)]);
        assert_eq!(verdict, count as f64, "{name}");
    }
    for (name, &count) in stats.events.iter().filter(|(name, _)| *name != "link_down") {
        assert_eq!(page.value("guideway_events_total", &[("event", name)]), count as f64, "{name}");
    }
    let Response::Services(services) = rig.daemon.handle(Request::ServiceList {}) else { panic!() };
    for service in &services {
        let (address, port) = (service.address.to_string(), service.port.to_string());
        let labels = [
            ("service", &*service.name),
            ("address", &address),
            ("protocol", service.protocol.name()),
            ("port", &port),
        ];
        let value = |what| page.whole(&format!("guideway_service_{what}"), &labels) as u64;
        let traffic = service.traffic;
        assert_eq!(value("packets_total"), traffic.packets);
        assert_eq!(value("bytes_total"), traffic.bytes);
        assert_eq!(value("new_flows_total"), traffic.flows);
        assert_eq!(value("flows"), traffic.live);
    }
    let Response::Backends(backends) = rig.daemon.handle(Request::BackendList {}) else { panic!() };
    for backend in &backends {
        let address = backend.address.to_string();
        let labels =
            [("pool", &*backend.pool), ("backend", &*backend.name), ("address", &*address)];
        let value = |what| page.whole(&format!("guideway_backend_{what}"), &labels) as u64;
        let traffic = backend.traffic;
        assert_eq!(value("packets_total"), traffic.packets);
        assert_eq!(value("bytes_total"), traffic.bytes);
        assert_eq!(value("new_flows_total"), traffic.flows);
        assert_eq!(value("flows"), traffic.live);
        assert_eq!(value("weight"), u64::from(backend.weight));
        let state = [&labels[..], &[("state", backend.state.name())]].concat();
        assert_eq!(page.value("guideway_backend_state", &state), 1.0);
    }
    let Response::Neighbors(neighbors) = rig.daemon.handle(Request::NeighborList {}) else {
        panic!()
    };
    for state in guideway_api::NeighborState::ALL {
        let listed = neighbors.iter().filter(|neighbor| neighbor.state == state).count();
        let shown = page.value("guideway_neighbors", &[("state", state.name())]);
        assert_eq!(shown, listed as f64, "{}", state.name());
    }
    assert!(neighbors.len() > 1, "{neighbors:?}");
    let Response::Status(status) = rig.daemon.handle(Request::Status {}) else { panic!() };
    assert_eq!(page.value("guideway_config_generation", &[]), status.generation as f64);
    let in_force = page.value("guideway_config_generation_in_force", &[]);
    assert_eq!(in_force, status.generation_in_force as f64);
}

/// Who serves, what is set, and how much of its weight a backend has.
#[test]
fn states_are_shown() {
    use guideway_api::{BackendChange, BackendOrder, Request, Response, SetState, Source};
    let text = rig::SAMPLE
        .replace(
            "name = \"web\"\nbackends",
            "name = \"web\"\nbackup = \"dns\"\nmin_active = 2\nbackends",
        )
        .replace("name = \"dns\"\nbackends", "name = \"dns\"\nslow_start = 3600\nbackends");
    let rig = Rig::new(&text);
    let set = |source, backend: &str, state| {
        let (pool, backend) = backend.split_once('/').unwrap();
        let request = Request::BackendSet {
            changes: vec![BackendChange {
                pool: Some(pool.to_owned()),
                backend: Some(backend.to_owned()),
                address: None,
                set: BackendOrder::State(state),
                reason: None,
            }],
            source,
            reason: None,
            for_seconds: None,
        };
        let response = rig.daemon.handle(request);
        assert!(matches!(response, Response::BackendsSet { .. }), "{response:?}");
        rig.parsed()
    };
    let of_web = |page: &Page| {
        ["backends", "active_backends", "needed_backends", "serving_level", "serves_down"]
            .map(|what| page.value(&format!("guideway_pool_{what}"), &[("pool", "web")]))
    };
    let settings = |page: &Page| {
        ["controller", "operator"].map(|by| page.value("guideway_settings", &[("set_by", by)]))
    };
    let page = rig.parsed();
    assert_eq!((of_web(&page), settings(&page)), ([3.0, 1.0, 2.0, 0.0, 0.0], [0.0, 0.0]));
    assert_eq!(page.value("guideway_settings_stored", &[]), 1.0);
    // Fewer are active than needed. One backend of the backup has a route.
    let page = set(Source::Controller, "web/a", SetState::Down);
    assert_eq!((of_web(&page), settings(&page)), ([3.0, 1.0, 2.0, 1.0, 0.0], [1.0, 0.0]));
    let down = [("pool", "web"), ("state", "down")];
    assert_eq!(page.value("guideway_pool_backends_by_state", &down), 1.0);
    for backend in ["web/b", "web/c", "dns/a"] {
        set(Source::Operator, backend, SetState::Disabled);
    }
    let page = set(Source::Operator, "dns/b", SetState::Disabled);
    assert_eq!((of_web(&page), settings(&page)), ([3.0, 0.0, 2.0, -1.0, 0.0], [1.0, 4.0]));
    rig.apply(&text.replace("min_active = 2", "on_empty = \"all\""));
    let page = rig.parsed();
    assert_eq!((of_web(&page), settings(&page)), ([3.0, 1.0, 1.0, 0.0, 1.0], [1.0, 4.0]));
    let page = set(Source::Operator, "dns/a", SetState::Enabled);
    let labels = [("pool", "dns"), ("backend", "a"), ("address", "192.0.2.10")];
    let weight = page.value("guideway_backend_weight", &labels);
    assert!((0.001..0.1).contains(&weight), "{weight}");
    assert_eq!(settings(&page), [1.0, 3.0]);
}

/// Without `[announce]` there is nothing to alert about.
#[test]
fn the_interface_of_virtual_addresses_is_shown_if_there_is_one() {
    use guideway_api::{AnnouncingState, Request, Response};
    const METRICS: [&str; 2] = ["guideway_announcing", "guideway_announce_dropped_packets_total"];
    let rig = Rig::new(rig::SAMPLE);
    let announcing = rig.daemon.announcing().unwrap();
    let shown = || METRICS.map(|name| rig.parsed().value(name, &[]));
    assert_eq!(shown(), [1.0, 0.0]);
    announcing.set_dropped(7);
    for state in [
        AnnouncingState::Starting,
        AnnouncingState::WorkerStalled { worker: 1 },
        AnnouncingState::NoLink,
        AnnouncingState::Removed,
        AnnouncingState::Stopping,
    ] {
        announcing.set_state(state.clone());
        assert_eq!(shown(), [0.0, 7.0]);
        let Response::Status(status) = rig.daemon.handle(Request::Status {}) else { panic!() };
        let listed = status.announcing.unwrap();
        assert_eq!((listed.interface.as_str(), listed.state, listed.dropped), ("gwvip", state, 7));
    }
    announcing.set_dropped(3);
    assert_eq!(shown(), [0.0, 7.0], "a counter never goes back");

    let rig = Rig::new(&rig::SAMPLE.replace("[announce]", ""));
    let page = rig.parsed();
    assert!(METRICS.iter().all(|name| !page.families.contains_key(*name)));
    let Response::Status(status) = rig.daemon.handle(Request::Status {}) else { panic!() };
    assert_eq!(status.announcing, None);
}

/// Without `node.check_source` there are no probes through tunnels.
#[test]
fn packets_of_probes_are_shown_by_what_became_of_them() {
    use guideway_core::balancer::pin::Outcome;
    const METRIC: &str = "guideway_check_packets_total";
    let rig = Rig::new(rig::SAMPLE);
    let shown = || {
        let page = rig.parsed();
        let outcomes = Outcome::ALL.iter();
        outcomes.map(|of| page.value(METRIC, &[("outcome", of.name())])).collect::<Vec<_>>()
    };
    assert_eq!(shown(), [0.0; 6]);
    rig.daemon.probing().count(Outcome::Sent, 3);
    rig.daemon.probing().count(Outcome::NoRoom, 1);
    assert_eq!(shown(), [3.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    let rig = Rig::new(&rig::SAMPLE.replace("check_source", "# check_source"));
    assert!(!rig.parsed().families.contains_key(METRIC));
}

#[test]
fn a_page_is_shared_for_a_second() {
    let rig = Rig::new(rig::SAMPLE);
    let now = Instant::now();
    let page = |query: &Query, after_ms: u64| {
        rig.exporter.page_at(query, now + Duration::from_millis(after_ms)).unwrap()
    };
    let (all, services) = (query(&[], &[]), query(&["services"], &[]));
    let first = page(&all, 0);
    rig.traffic(0, "web", 3);
    assert_eq!(page(&all, 999).as_ptr(), first.as_ptr());
    let narrow = String::from_utf8(page(&services, 999).to_vec()).unwrap();
    assert!(narrow.lines().all(|line| !line.starts_with("guideway_service_packets_total") || line.ends_with(" 0")));
    let second = page(&all, 1000);
    assert_ne!(second, first);
    assert_eq!(page(&all, 1999).as_ptr(), second.as_ptr());
    // A clock that was read before another scrape collected.
    assert_eq!(page(&all, 500).as_ptr(), second.as_ptr());
}

#[test]
fn pages_of_one_second_that_are_kept_are_few() {
    let rig = Rig::new(rig::SAMPLE);
    let now = Instant::now();
    for n in 0..50 {
        let page = rig.exporter.page_at(&query(&[], &[&format!("pool{n}")]), now).unwrap();
        assert!(page.starts_with(b"# HELP guideway_scrape_series_left_out"), "{page:?}");
    }
    let state = rig.exporter.state.lock();
    assert_eq!((state.pages.len(), state.spare.len()), (KEPT_PAGES, 0));
}

#[test]
fn a_page_is_narrowed_by_scope_and_name() {
    let rig = Rig::new(rig::SAMPLE);
    for scope in Scope::ALL {
        let page = Page::parse(&rig.narrowed(&query(&[scope.name()], &[])));
        for metric in METRICS {
            let is_there = page.families.contains_key(metric.name);
            let is_last = metric.name == "guideway_scrape_series"
                || metric.name == "guideway_scrape_series_left_out" && scope.is_large();
            let is_expected = is_last
                || metric.scope == scope && metric.name != "guideway_scrape_series_left_out";
            assert_eq!(is_there, is_expected, "{} in {}", metric.name, scope.name());
        }
        assert_eq!(page.value("guideway_scrape_series", &[]), page.series() as f64);
    }
    let page = Page::parse(&rig.narrowed(&query(&[], &["dns", "nosuch"])));
    assert_eq!(page.samples("guideway_service_flows").len(), 1);
    let pools = page.samples("guideway_pool_flows");
    assert_eq!((pools.len(), pools[0].label("pool")), (1, "dns"));
    assert!(page.samples("guideway_backend_flows").iter().all(|of| of.label("pool") == "dns"));
    assert!(!page.families.contains_key("guideway_build_info"));
    let error = rig.exporter.page(&query(&["service"], &[])).unwrap_err();
    assert!(error.contains("services"), "{error}");
}

#[test]
fn a_page_is_bounded_and_says_what_it_left_out() {
    let rig = Rig::new(rig::SAMPLE);
    let whole = rig.parsed();
    let names = query(&["pools", "services", "backends"], &[]);
    let rows = |page: &Page, name| page.samples(name).len();
    let mut seen = BTreeSet::new();
    for max_series in 0..whole.series() + 1 {
        let text = rig.bounded(&names, max_series);
        let page = Page::parse(&text);
        let left_out = |scope| page.whole("guideway_scrape_series_left_out", &[("scope", scope)]);
        let all = ["pools", "services", "backends"].map(left_out);
        let large = |page: &Page| {
            page.series_of(|name| {
                METRICS.iter().any(|metric| metric.name == name && metric.scope.is_large())
            })
        };
        assert_eq!(large(&page) + all.iter().sum::<usize>(), large(&whole), "{max_series}");
        assert!(page.series() <= max_series.max(4), "{max_series}");
        assert_eq!(page.value("guideway_scrape_series", &[]), page.series() as f64);
        // Those of backends go first, then those of services.
        assert!(all[1] == 0 || rows(&page, "guideway_backend_flows") == 0, "{max_series}");
        assert!(all[0] == 0 || rows(&page, "guideway_service_flows") == 0, "{max_series}");
        assert_eq!(rows(&page, "guideway_backend_flows"), rows(&page, "guideway_backend_state"));
        seen.insert(all);
    }
    assert!(seen.contains(&[0, 0, 0]) && seen.len() > 8, "{seen:?}");
}

#[test]
fn what_the_manager_does_is_counted() {
    let rig = Rig::new(rig::SAMPLE);
    let page = rig.parsed();
    let value = |page: &Page, name| page.value(name, &[]);
    let applies =
        |page: &Page, result| page.value("guideway_config_applies_total", &[("result", result)]);
    assert_eq!(value(&page, "guideway_config_last_apply_success"), 1.0);
    assert_eq!(value(&page, "guideway_compile_seconds_count"), 1.0);
    assert_eq!(value(&page, "guideway_publish_seconds_count"), 0.0);
    assert_eq!(value(&page, "guideway_config_differs_from_file"), 0.0);
    let begun = value(&page, "guideway_config_last_apply_timestamp_seconds");

    rig.apply(&rig::SAMPLE.replace("weight = 2", "weight = 3"));
    let page = rig.parsed();
    assert_eq!(applies(&page, "applied"), 1.0);
    assert_eq!(value(&page, "guideway_compile_seconds_count"), 2.0);
    assert_eq!(value(&page, "guideway_publish_seconds_count"), 1.0);
    assert_eq!(value(&page, "guideway_config_differs_from_file"), 1.0);
    assert!(value(&page, "guideway_config_last_apply_timestamp_seconds") >= begun);

    rig.refused("nonsense");
    let page = rig.parsed();
    assert_eq!((applies(&page, "applied"), applies(&page, "refused")), (1.0, 1.0));
    assert_eq!(value(&page, "guideway_config_last_apply_success"), 0.0);
    assert_eq!(value(&page, "guideway_compile_seconds_count"), 2.0);
    rig.reload();
    let page = rig.parsed();
    assert_eq!(value(&page, "guideway_config_differs_from_file"), 0.0);
    assert_eq!(value(&page, "guideway_config_last_apply_success"), 1.0);
}

/// Buffers are used again: the memory of many scrapes is that of a few.
#[test]
fn buffers_are_used_again() {
    let rig = Rig::new(rig::SAMPLE);
    let now = Instant::now();
    let all = query(&[], &[]);
    let mut pointers = BTreeSet::new();
    for second in 0..300 {
        let page = rig.exporter.page_at(&all, now + Duration::from_secs(second)).unwrap();
        pointers.insert(page.as_ptr() as usize);
    }
    assert!(pointers.len() < 10, "{} buffers", pointers.len());
}

/// Generous, for a build without optimization on a machine that does other things: the bench `tables` has the time.
#[test]
fn ten_thousand_services_are_collected_in_time() {
    let rig = Rig::new(&rig::large(10_000));
    let begun = Instant::now();
    let page = rig.page();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let lines = page.lines().filter(|line| !line.starts_with('#')).count();
    assert!((200_000..300_000).contains(&lines), "{lines} series");
    let last = page.lines().last().unwrap();
    assert_eq!(last, format!("guideway_scrape_series {lines}"));
    // Within the default of `metrics.max_series`.
    assert!(page.contains("left_out{scope=\"backends\"} 0\n"));
}

/// Many threads ask at once: values are collected once, and all get the same page.
#[test]
fn scrapes_at_once_share_one_page() {
    let rig = Rig::new(&rig::large(200));
    let now = Instant::now();
    let pages: Vec<Bytes> = std::thread::scope(|scope| {
        let ask = || rig.exporter.page_at(&query(&[], &[]), now).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(pages.iter().all(|page| page.as_ptr() == pages[0].as_ptr()));
}
