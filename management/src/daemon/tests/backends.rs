//! States and weights that are set at run time.

use guideway_api::{BackendChange, BackendOrder, BackendState, SetState, Source};

use super::*;
use crate::sample::MIXED;
use guideway_chassis::peer::{Access, Peer};

/// A change of the backends that `target` names: `web/b`, `web` or an address.
fn change(target: &str, set: BackendOrder) -> BackendChange {
    let address = target.parse().ok();
    let (pool, backend) = match (address, target.split_once('/')) {
        (Some(_), _) => (None, None),
        (None, None) => (Some(target.to_owned()), None),
        (None, Some((pool, backend))) => (Some(pool.to_owned()), Some(backend.to_owned())),
    };
    BackendChange { pool, backend, address, set, reason: None }
}

fn state(target: &str, state: SetState) -> BackendChange {
    change(target, BackendOrder::State(state))
}

fn request(changes: Vec<BackendChange>, source: Source, reason: &str) -> Request {
    let reason = (!reason.is_empty()).then(|| reason.to_owned());
    Request::BackendSet { changes, source, reason, for_seconds: None }
}

impl Lab {
    fn set(&self, changes: Vec<BackendChange>) -> Response {
        self.daemon.handle(request(changes, Source::Operator, ""))
    }

    /// The rows of the answer, as pool, name, state and weight.
    fn rows(&self, changes: Vec<BackendChange>) -> Vec<(String, String, BackendState, u32)> {
        match self.set(changes) {
            Response::BackendsSet { backends, .. } => {
                let row = |b: api::Backend| (b.pool, b.name, b.state, b.weight);
                backends.into_iter().map(row).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn states(&self) -> Vec<BackendState> {
        self.backends().iter().map(|backend| backend.state).collect()
    }
}

#[test]
fn one_backend_is_set_and_the_answer_has_its_row() {
    let lab = Lab::new();
    let drain = vec![state("web/b", SetState::Draining)];
    let answer = lab.daemon.handle(request(drain, Source::Operator, "a new kernel"));
    let Response::BackendsSet { generation, backends, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((generation, backends.len()), (2, 1));
    assert_eq!(lab.daemon.overview.progress().generation, 2, "it is in force");
    let row = &backends[0];
    assert_eq!((row.name.as_str(), row.state), ("b", BackendState::Draining));
    assert_eq!((row.source, row.reason.as_deref()), (Source::Operator, Some("a new kernel")));
    let [setting] = &row.settings[..] else { panic!("{row:?}") };
    assert_eq!((setting.source, setting.state), (Source::Operator, Some(SetState::Draining)));
    // The manager may settle between the request and its change.
    assert!(setting.since <= row.since && setting.until.is_none(), "{row:?}");
    assert_eq!(setting.reason.as_deref(), Some("a new kernel"));
    use BackendState::{Active, Draining};
    assert_eq!(lab.states(), [Active, Draining, Active]);
    let tables = lab.tables.load_full();
    let serving: Vec<_> =
        lab.ids().into_iter().map(|n| tables.backend(BackendId::new(n)).serving).collect();
    assert_eq!(serving, [Serving::All, Serving::Existing, Serving::All]);
}

#[test]
fn a_change_may_have_a_reason_of_its_own() {
    let lab = Lab::new();
    let own = BackendChange {
        reason: Some("check web: L4CON".to_owned()),
        ..state("web/a", SetState::Down)
    };
    let changes = vec![own, state("web/b", SetState::Down)];
    let answer = lab.daemon.handle(request(changes, Source::Controller, "the reason of all"));
    let Response::BackendsSet { backends, .. } = answer else { panic!("{answer:?}") };
    let reasons: Vec<_> = backends.iter().map(|backend| backend.reason.as_deref()).collect();
    assert_eq!(reasons, [Some("check web: L4CON"), Some("the reason of all")]);
}

#[test]
fn a_setting_has_its_end() {
    let lab = Lab::new();
    let request = Request::BackendSet {
        changes: vec![change("web/a", BackendOrder::Weight(0))],
        source: Source::Controller,
        reason: None,
        for_seconds: Some(3600),
    };
    let answer = lab.daemon.handle(request);
    let Response::BackendsSet { backends, .. } = answer else { panic!("{answer:?}") };
    let [setting] = &backends[0].settings[..] else { panic!("{backends:?}") };
    assert_eq!((setting.source, setting.weight), (Source::Controller, Some(0)));
    let time = |text: &str| humantime::parse_rfc3339(text).unwrap();
    let length = time(setting.until.as_ref().unwrap()).duration_since(time(&setting.since));
    assert_eq!(length.unwrap(), Duration::from_secs(3600));
}

#[test]
fn a_pool_and_an_address_name_several_backends() {
    let lab = Lab::of_text(MIXED);
    let names = |changes| {
        let rows = lab.rows(changes).into_iter();
        rows.map(|(pool, name, ..)| format!("{pool}/{name}")).collect::<Vec<_>>().join(" ")
    };
    let down = |target| vec![state(target, SetState::Down)];
    assert_eq!(names(down("dns")), "dns/a dns/b dns/c");
    assert_eq!(names(down("10.0.0.1")), "web/c spare/a");
    assert_eq!(names(down("2001:db8::10")), "web/e");
    let both =
        BackendChange { pool: Some("spare".to_owned()), ..state("10.0.0.1", SetState::Down) };
    assert_eq!(names(vec![both]), "spare/a");
    // Several changes of one request, in the order of the configuration.
    let rows = lab.rows(vec![
        change("spare", BackendOrder::Weight(7)),
        state("web/c", SetState::Disabled),
        state("spare/a", SetState::Disabled),
    ]);
    let row = |pool: &str, name: &str, weight| {
        (pool.to_owned(), name.to_owned(), BackendState::Disabled, weight)
    };
    assert_eq!(rows, [row("web", "c", 1), row("spare", "a", 7)]);
}

#[test]
fn nothing_changes_if_a_name_does_not_exist() {
    let lab = Lab::of_text(MIXED);
    let at = |pool: &str, backend: Option<&str>, address: &str| BackendChange {
        pool: Some(pool.to_owned()),
        backend: backend.map(str::to_owned),
        ..state(address, SetState::Down)
    };
    for (wrong, message) in [
        (state("wbe", SetState::Down), "no pool is named wbe; the nearest is web"),
        (state("web/bb", SetState::Down), "pool web has no backend bb; the nearest is b"),
        (
            state("f", SetState::Down),
            "no pool is named f, but pool web has such a backend; say web/f",
        ),
        (state("10.0.0.9", SetState::Down), "no backend has the address 10.0.0.9"),
        (
            at("dns", None, "10.0.0.1"),
            "pool dns has no backend 10.0.0.1; pools that have it: web, spare",
        ),
        (
            at("web", Some("c"), "10.0.0.2"),
            "backend c of pool web has the address 10.0.0.1, not 10.0.0.2",
        ),
    ] {
        let error = refusal(lab.set(vec![state("web/a", SetState::Down), wrong]));
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::NotFound, message));
        assert_eq!(error.details, Vec::<String>::new());
    }
    let wrong: Vec<_> = (0..30).map(|n| state(&format!("web/x{n}"), SetState::Down)).collect();
    let error = refusal(lab.set(wrong));
    assert_eq!(error.message, "30 of the 30 changes name no backend");
    assert_eq!((error.details.len(), error.details[20].as_str()), (21, "and 10 more"));
    let long = refusal(lab.set(vec![state(&"p".repeat(100_000), SetState::Down)]));
    assert!(long.message.len() < 200, "{}", long.message.len());
    assert_eq!(lab.generation(), 1);
}

#[test]
fn a_backend_is_set_in_the_pool_that_has_it() {
    let lab =
        Lab::of_text(&format!("{MIXED}\n[[pool]]\nname = \"all\"\npools = [\"dns\", \"spare\"]\n"));
    let error = refusal(lab.set(vec![state("all", SetState::Down)]));
    assert_eq!(error.kind, ErrorKind::NotFound);
    let message = "pool all has no backends of its own; it has those of dns, spare";
    assert_eq!(error.message, message);
    let error = refusal(lab.set(vec![state("all/a", SetState::Down)]));
    assert_eq!(error.message, "pool all has no backend a of its own; say dns/a");
    let error = refusal(lab.set(vec![state("all/x", SetState::Down)]));
    assert_eq!(error.message, "pool all has no backend x");
}

#[test]
fn the_operator_outweighs_the_controller() {
    let lab = Lab::new();
    let set = |source, order, reason| {
        let answer = lab.daemon.handle(request(vec![change("web/a", order)], source, reason));
        let Response::BackendsSet { mut backends, .. } = answer else { panic!("{answer:?}") };
        let row = backends.remove(0);
        (row.state, row.source, row.reason.unwrap_or_default(), row.settings.len())
    };
    use BackendOrder::{State, UnsetState};
    let (operator, controller) = (Source::Operator, Source::Controller);
    let checked = || "HTTP 503".to_owned();
    assert_eq!(
        set(controller, State(SetState::Down), "HTTP 503"),
        (BackendState::Down, controller, checked(), 1)
    );
    assert_eq!(
        set(operator, State(SetState::Draining), "a disk"),
        (BackendState::Draining, operator, "a disk".to_owned(), 2)
    );
    // Who enables a backend leaves it to the controller, and who sets it active does not.
    let enabled = set(operator, State(SetState::Enabled), "");
    assert_eq!((enabled.0, enabled.1, enabled.2), (BackendState::Down, controller, checked()));
    assert_eq!(
        set(operator, State(SetState::Active), ""),
        (BackendState::Active, operator, String::new(), 2)
    );
    set(operator, UnsetState, "");
    assert_eq!(set(controller, UnsetState, ""), (BackendState::Active, Source::File, "".into(), 0));
}

#[test]
fn the_audit_trail_names_few_backends_and_counts_many() {
    let lab = Lab::of_text(MIXED);
    let peer = Peer { uid: 0, pid: 1, process: "guidewayctl".to_owned(), access: Access::Full };
    let told = |changes: Vec<BackendChange>| {
        lab.daemon.serve(&peer, request(changes, Source::Operator, "why"));
        let batch = lab.daemon.events().ring().read(1, usize::MAX);
        let changed = batch.events.iter().rev().find_map(|event| match &event.happening {
            Happening::Changed { before, after, reason, .. } => {
                assert_eq!(reason.as_deref(), Some("why"));
                Some(format!("{before} -> {after}"))
            }
            _ => None,
        });
        changed.unwrap()
    };
    assert_eq!(
        told(vec![change("dns/a", BackendOrder::Weight(5))]),
        "dns/a weight 1 (file) -> dns/a weight 5 (operator)"
    );
    assert_eq!(
        told(vec![state("10.0.0.1", SetState::Down)]),
        "web/c active (file), spare/a active (file) -> web/c down (operator), spare/a down (operator)"
    );
    assert_eq!(
        told(vec![state("web", SetState::Disabled), change("web", BackendOrder::Weight(2))]),
        "6 backends: 3 active with weight 1, 1 active with weight 3, 1 disabled with weight 1, \
         1 down with weight 1 -> 6 backends: 6 disabled with weight 2"
    );
    let missing = told(vec![state("nosuch", SetState::Down)]);
    assert!(missing.starts_with("generation 4, ") && missing.contains("-> generation 4, "));
}

#[test]
fn what_is_set_stays_over_a_reload() {
    let lab = Lab::new();
    lab.rows(vec![state("web/b", SetState::Draining), change("web/c", BackendOrder::Weight(9))]);
    lab.applied(&text(&[("z", 13, ""), ("renamed", 11, ""), ("c", 12, "")]));
    let rows: Vec<_> = lab.backends().into_iter().map(|b| (b.name, b.state, b.weight)).collect();
    let row = |name: &str, state, weight| (name.to_owned(), state, weight);
    use BackendState::{Active, Draining};
    assert_eq!(rows, [row("z", Active, 1), row("renamed", Draining, 1), row("c", Active, 9)]);
}

#[test]
fn a_change_that_is_late_says_so() {
    let in_force = Duration::from_millis(50);
    let lab = Lab::with_limits(Limits { in_force, ..Limits::default() });
    lab.brake.pull();
    let error = refusal(lab.set(vec![state("web/a", SetState::Down)]));
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.starts_with("generation 2 is published, but"), "{error:?}");
    assert_eq!(lab.states()[0], BackendState::Down);
}

#[test]
fn a_request_sets_no_more_than_there_can_be() {
    let lab = Lab::new();
    let changes = vec![state("web", SetState::Draining); 2 * api::MAX_CHANGES / 3 + 1];
    let Response::Error(error) = lab.set(changes) else { panic!("it was carried out") };
    assert_eq!(error.kind, ErrorKind::BadRequest);
    assert!(error.message.contains("in several requests"), "{error:?}");
    assert!(lab.states().iter().all(|&state| state == BackendState::Active));
}

/// Of many names that do not exist, the first alone are compared with those that do.
#[test]
fn many_names_that_do_not_exist_are_counted() {
    let lab = Lab::new();
    let changes = (0..20_000).map(|n| state(&format!("web/x{n}"), SetState::Down)).collect();
    let begun = Instant::now();
    let Response::Error(error) = lab.set(changes) else { panic!("it was carried out") };
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(error.message, "20000 of the 20000 changes name no backend");
    assert_eq!(error.details.len(), 21);
    assert_eq!(error.details[0], "pool web has no backend x0; the nearest is a");
    assert_eq!(error.details[20], "and 19980 more");
}

/// A service serves as its pool, or the pool's backup, has backends for new flows.
#[test]
fn a_service_serves_while_its_pool_has_enough() {
    let sample = text(THREE);
    let serves = |lab: &Lab| match lab.daemon.handle(Request::ServiceList {}) {
        Response::Services(services) => services[0].serves,
        other => panic!("{other:?}"),
    };
    let with = |settings: &str| {
        Lab::of_text(&sample.replacen(
            "name = \"web\"\n",
            &format!("name = \"web\"\n{settings}\n"),
            1,
        ))
    };
    let down = |lab: &Lab, backend: &str| {
        let answer = lab.set(vec![state(&format!("web/{backend}"), SetState::Down)]);
        assert!(matches!(answer, Response::BackendsSet { .. }), "{answer:?}");
        serves(lab)
    };
    let lab = with("min_active = 2");
    assert!(serves(&lab));
    assert!(down(&lab, "a"), "two are left");
    assert!(!down(&lab, "b"), "fewer than min_active");
    // Nothing but the last backend is left. It gets all new flows, and the service does not serve all the same.
    assert!(!down(&lab, "c"));

    let lab = with("min_active = 1");
    assert!(down(&lab, "a") && down(&lab, "b"));
    assert!(!down(&lab, "c"), "nobody serves");

    let lab = with("min_active = 1\non_empty = \"all\"");
    assert!(["a", "b", "c"].into_iter().all(|backend| down(&lab, backend)), "all serve");

    // Weight 0 takes no new flows, and counts for nothing.
    let lab = with("min_active = 3");
    assert!(serves(&lab));
    lab.set(vec![change("web/a", BackendOrder::Weight(0))]);
    assert!(!serves(&lab));

    let backup = "[[pool]]\nname = \"spare\"\nbackends = [{ name = \"s\", address = \"192.0.2.20\" }]\n\
                  [[neighbor]]\naddress = \"192.0.2.20\"\nmac = \"02:00:00:00:00:20\"\n[[service]]";
    let text = sample.replacen("[[service]]", backup, 1);
    let text = text.replacen(
        "name = \"web\"\n",
        "name = \"web\"\nmin_active = 3\nbackup = \"spare\"\n",
        1,
    );
    let lab = Lab::of_text(&text);
    assert!(down(&lab, "a"), "the backup serves");
    lab.set(vec![state("spare/s", SetState::Down)]);
    assert!(!serves(&lab), "two serve, and three have to");
    // A backend without a route accepts nothing.
    let lab = Lab::of_text(
        &text
            .replace("mac = \"02:00:00:00:00:20\"", "mac = \"02:00:00:00:00:21\"")
            .replace("192.0.2.20\"\nmac", "192.0.2.21\"\nmac"),
    );
    assert!(!down(&lab, "a"), "the backup cannot be reached");
}
