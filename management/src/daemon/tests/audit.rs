//! The audit trail, the access of the read-only socket, and the level of the log.

use guideway_api::{ChangeOutcome, Happening};

use super::*;
use guideway_chassis::peer::{Access, Peer};

fn peer(access: Access) -> Peer {
    Peer { uid: 1000, pid: 77, process: "guidewayctl".to_owned(), access }
}

/// Each request once; those that change something with a reason.
fn requests() -> Vec<Request> {
    let reason = || Some("why".to_owned());
    let requests = vec![
        Request::Status {},
        Request::ServiceList {},
        Request::BackendList {},
        Request::BackendSet {
            changes: vec![api::BackendChange {
                pool: Some("web".to_owned()),
                backend: Some("a".to_owned()),
                address: None,
                set: api::BackendOrder::State(api::SetState::Draining),
                reason: None,
            }],
            source: api::Source::Operator,
            reason: reason(),
            for_seconds: None,
        },
        Request::WorkerList {},
        Request::PortList {},
        Request::PortStats { extended: true },
        Request::Stats {},
        Request::ConfigShow {},
        Request::ConfigCheck { text: text(THREE) },
        Request::ConfigApply { text: text(&THREE[..2]), reason: reason() },
        Request::ConfigReload { reason: reason() },
        Request::FlowList(api::FlowFilter::default()),
        Request::InterfaceList {},
        Request::NeighborList {},
        Request::RouteShow { backend: "a".to_owned(), pool: None },
        Request::PuntList {},
        Request::PinSet { pins: Vec::new(), removed: Vec::new(), only: true },
        Request::PinList {},
        Request::Monitor { since: None, instance: None, kinds: Vec::new(), follow: false },
        Request::LogLevel { level: Some(api::LogLevel::Debug), reason: reason() },
        Request::LogLevel { level: None, reason: None },
        Request::Hello { client: "c".to_owned(), version: String::new() },
    ];
    let mut names: Vec<_> = requests.iter().map(Request::name).collect();
    names.dedup();
    // The others are for the controller, and the server refuses them.
    let of_controller = [
        "vip_list",
        "vip_set",
        "node_show",
        "node_set",
        "bgp_list",
        "bgp_show",
        "check_list",
        "check_show",
        "check_run",
    ];
    let mut all = Request::NAMES.to_vec();
    all.retain(|name| !of_controller.contains(name));
    assert_eq!(names, all);
    requests
}

impl Lab {
    /// What was recorded of these kinds.
    fn recorded(&self, kinds: &[&str]) -> Vec<Happening> {
        let batch = self.daemon.events().ring().read(1, usize::MAX);
        let all = batch.events.iter().map(|event| event.happening.clone());
        all.filter(|happening| kinds.contains(&happening.name())).collect()
    }

    fn changed(&self) -> Vec<Happening> {
        self.recorded(&["changed"])
    }
}

#[test]
fn a_reader_may_send_every_request_that_changes_nothing() {
    let lab = Lab::new();
    let mut forbidden = Vec::new();
    for request in requests() {
        let (name, is_change) = (request.name(), request.is_change());
        match lab.daemon.serve(&peer(Access::Read), request) {
            Response::Error(error) if error.kind == ErrorKind::Forbidden => {
                assert!(
                    error.message.starts_with(name) && error.message.contains("control.socket")
                );
                forbidden.push(name);
            }
            _ => assert!(!is_change, "{name}"),
        }
    }
    assert_eq!(forbidden, ["backend_set", "config_apply", "config_reload", "pin_set", "log_level"]);
    assert_eq!((lab.generation(), lab.daemon.level.now()), (1, api::LogLevel::Info));
    // Each attempt is in the audit trail, and nothing else was recorded.
    let tried = lab.changed();
    assert_eq!(tried.len(), forbidden.len());
    assert_eq!(lab.daemon.events().ring().next(), 1 + tried.len() as u64);
    for (happening, name) in tried.into_iter().zip(forbidden) {
        let Happening::Changed { request, before, after, reason, outcome, error, .. } = happening
        else {
            panic!("{happening:?}");
        };
        assert_eq!(outcome, ChangeOutcome::Refused);
        let why = (name != "pin_set").then_some("why");
        assert_eq!((request, reason.as_deref()), (name.to_owned(), why));
        assert!(before == after && error.unwrap().contains("may only read"));
    }
}

#[test]
fn each_change_ends_in_one_line_of_the_audit_trail() {
    let lab = Lab::new();
    for request in requests() {
        lab.daemon.serve(&peer(Access::Full), request);
    }
    let changed =
        |request: &str, before: &str, after: &str, error: Option<&str>| Happening::Changed {
            uid: 1000,
            pid: 77,
            process: "guidewayctl".to_owned(),
            request: request.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
            outcome: match error {
                None => ChangeOutcome::Applied,
                Some(_) => ChangeOutcome::Refused,
            },
            reason: Some("why".to_owned()),
            error: error.map(str::to_owned),
            unrecorded: 0,
        };
    let (before, after) =
        ("generation 2, 1 service, 3 backends", "generation 3, 1 service, 2 backends");
    let all = lab.changed();
    let (active, draining) = ("web/a active (file)", "web/a draining (operator)");
    assert_eq!(all[0], changed("backend_set", active, draining, None));
    let told = format!("{after} (1 backend removed)");
    assert_eq!(all[1], changed("config_apply", before, &told, None));
    let Happening::Changed { error: Some(missing), .. } = &all[2] else { panic!("{all:?}") };
    assert!(missing.contains("/nonexistent/guideway.toml"));
    assert_eq!(all[2], changed("config_reload", after, after, Some(missing)));
    assert_eq!(all[3], changed("log_level", "level info", "level debug", None));
    assert_eq!(all.len(), 4);
    assert_eq!(lab.daemon.level.now(), api::LogLevel::Debug);
    let applied = Happening::ConfigApplied { generation: 3, warnings: 0 };
    let refused = Happening::ConfigRefused { error: missing.clone() };
    assert_eq!(lab.recorded(&["config_applied", "config_refused"]), [applied, refused]);
}

#[test]
fn readers_do_not_drive_other_events_out() {
    let lab = Lab::new();
    lab.daemon.events().record(Happening::LinkDown { port: "edge0".into() });
    let reload = || Request::ConfigReload { reason: None };
    for _ in 0..10_000 {
        lab.daemon.serve(&peer(Access::Read), reload());
    }
    let recorded = lab.changed().len();
    assert!((20..100).contains(&recorded), "{recorded} recorded");
    assert_eq!(lab.recorded(&["link_down"]).len(), 1);
    // Readers do not use up what others have, and what is carried out is always recorded.
    lab.daemon.serve(&peer(Access::Full), reload());
    assert_eq!(lab.changed().len(), recorded + 1, "one that may do everything tried");
    let change = || Request::LogLevel { level: Some(api::LogLevel::Debug), reason: None };
    for _ in 0..100 {
        lab.daemon.serve(&peer(Access::Full), change());
    }
    assert_eq!(lab.changed().len(), recorded + 101);
    // The next one says how many were not.
    std::thread::sleep(Duration::from_millis(1100));
    lab.daemon.serve(&peer(Access::Read), reload());
    let told = |happening: &Happening| match happening {
        Happening::Changed { unrecorded, .. } => *unrecorded,
        _ => 0,
    };
    let all = lab.changed();
    assert_eq!(all.len(), recorded + 102);
    assert_eq!(all.iter().map(told).sum::<u64>(), 10_000 - recorded as u64);
}

#[test]
fn what_is_published_and_not_in_force_is_no_refusal() {
    let in_force = Duration::from_millis(50);
    let lab = Lab::with_limits(Limits { in_force, ..Limits::default() });
    lab.brake.pull();
    let request = Request::ConfigApply { text: text(&THREE[..2]), reason: None };
    refusal(lab.daemon.serve(&peer(Access::Full), request));
    let all = lab.changed();
    let [Happening::Changed { before, after, outcome, error, .. }] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!(*outcome, ChangeOutcome::Late);
    assert_eq!(before, "generation 1, 1 service, 3 backends");
    assert_eq!(after, "generation 2, 1 service, 2 backends (1 backend removed)");
    assert!(error.as_ref().unwrap().contains("generation 2 is published"), "{error:?}");
    let applies = lab.daemon.applies();
    let counts = ApplyResult::ALL.map(|result| applies.of(result));
    assert_eq!((counts, applies.last().0), ([0, 1, 0, 0], true), "it was published");
}

#[test]
fn changes_at_once_each_tell_what_they_replaced() {
    let lab = Lab::new();
    lab.brake.pull();
    let apply = |text: String| {
        let request = Request::ConfigApply { text, reason: None };
        lab.daemon.serve(&peer(Access::Full), request)
    };
    let until = |generation| {
        while lab.daemon.published().load().generation < generation {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| apply(text(&THREE[..2])));
        until(2);
        scope.spawn(|| apply(text(&THREE[..1])));
        until(3);
        lab.brake.release();
    });
    let mut all: Vec<_> = lab
        .changed()
        .into_iter()
        .map(|happening| match happening {
            Happening::Changed { before, after, .. } => (before, after),
            other => panic!("{other:?}"),
        })
        .collect();
    all.sort();
    let of = |generation: u32, backends: &str, more: &str| {
        format!("generation {generation}, 1 service, {backends}{more}")
    };
    let removed = " (1 backend removed)";
    assert_eq!(
        all,
        [
            (of(1, "3 backends", ""), of(2, "2 backends", removed)),
            (of(2, "2 backends", ""), of(3, "1 backend", removed)),
        ]
    );
}

#[test]
fn what_is_refused_is_recorded_with_the_first_mistake() {
    let lab = Lab::new();
    let bad = text(THREE).replace("weight", "wieght").replace("port = 80", "prot = 80");
    for text in [bad, text(THREE).replace("workers = [0]", "workers = [1]")] {
        lab.daemon.serve(&peer(Access::Full), Request::ConfigApply { text, reason: None });
    }
    let all = lab.recorded(&["config_refused"]);
    let [Happening::ConfigRefused { error: mistakes }, Happening::ConfigRefused { error: fixed }] =
        all.as_slice()
    else {
        panic!("{all:?}")
    };
    assert!(mistakes.starts_with("the configuration has mistakes") && mistakes.contains("more"));
    assert!(fixed.contains("dpdk.workers"), "{fixed}");
    let refused = lab.changed();
    assert!(refused.iter().all(|event| matches!(event, Happening::Changed { error: Some(_), .. })));
    assert_eq!(refused.len(), 2);
}

#[test]
fn the_level_of_the_file_counts_when_it_changes() {
    let lab = Lab::new();
    let set = |level| lab.daemon.handle(Request::LogLevel { level: Some(level), reason: None });
    let level = |text: &str| {
        lab.applied(text);
        lab.daemon.level.now()
    };
    let with = |level: &str| format!("{}\n[log]\nlevel = \"{level}\"\n", text(THREE));
    use api::LogLevel::{Debug, Error, Info, Warn};
    assert_eq!(set(Debug), Response::LogLevel { level: Debug });
    assert_eq!(level(&text(&THREE[..2])), Debug, "the file says what it said before");
    assert_eq!(level(&with("warn")), Warn);
    set(Error);
    assert_eq!(level(&with("warn")), Error);
    assert_eq!(level(&text(THREE)), Info);
    let asked = lab.daemon.handle(Request::LogLevel { level: None, reason: None });
    assert_eq!(asked, Response::LogLevel { level: Info });
}
