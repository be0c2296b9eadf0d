//! Checks of backends by their own addresses: what the forwarder is told, and when addresses are announced.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use guideway_api::{CheckCode, CheckRow, CheckState, Request, Response, SetState, Vip, VipCause};
use nix::sys::signal::Signal;

use crate::forwarder::{ANNOUNCE, Forwarder, configuration};
use crate::rig::{Controller, Node0};
use crate::space::{INTERFACE, in_namespace, ip, make_interface, routes, until};

/// The backends' addresses, which are the node's own.
const BACKENDS: [&str; 3] = ["10.9.0.1", "10.9.0.2", "10.9.0.3"];

/// How long a state takes to follow at the most: rise and fall are 2, and the machine may be busy.
const SOON: Duration = Duration::from_secs(5);

/// A configuration with these checks of the pool `web`.
fn checked(checks: &str, more: &str) -> String {
    let backend = |n: usize| format!("{{ name = \"b{}\", address = \"{}\" }}", n + 1, BACKENDS[n]);
    let backends = [0, 1, 2].map(backend).join(", ");
    let pool = format!("backends = [{backends}]\nchecks = [{checks}]\npanic_threshold = 100");
    configuration(ANNOUNCE).replace("backends = []", &pool) + more
}

/// A check by TCP every 100 ms.
const OPEN: &str = "[[check]]\nname = \"open\"\nkind = \"tcp\"\nvia = \"direct\"\ninterval = 100\n\
                    timeout = 90\nrise = 2\nfall = 2\nspread = 100\n";

/// Runs a test in a namespace in which the backends' addresses are the node's own.
fn with_backends(test: impl FnOnce(&Node0, &Forwarder) + Send) {
    in_namespace(|| {
        for address in BACKENDS {
            ip(&format!("addr add {address}/32 dev lo"));
        }
        make_interface(INTERFACE);
        let node = Node0::new();
        let forwarder = Forwarder::start(&node.path("forwarder.sock"), ANNOUNCE);
        forwarder.reload_text(checked("\"open\"", OPEN));
        test(&node, &forwarder);
    });
}

fn listen(backend: usize) -> TcpListener {
    TcpListener::bind((BACKENDS[backend - 1], 80)).unwrap()
}

fn rows(controller: &Controller<'_>) -> Vec<CheckRow> {
    match controller.ask(&Request::CheckList {}) {
        Ok(Response::Checks(checks)) => checks.rows,
        other => panic!("{other:?}"),
    }
}

fn web(controller: &Controller<'_>) -> Option<Vip> {
    controller.vip("203.0.113.10")
}

fn is_down(forwarder: &Forwarder, backend: &str) -> bool {
    forwarder.set(backend).is_some_and(|(state, _)| state == SetState::Down)
}

#[test]
fn states_follow_and_come_before_announcements() {
    with_backends(|node, forwarder| {
        let (_one, _three) = (listen(1), listen(3));
        let controller = node.start();
        until("announced", || !routes(1000).is_empty());
        assert!(is_down(forwarder, "b2"), "the forwarder knew before: {:?}", forwarder.changes());
        assert_eq!(forwarder.changes(), [("b2".to_owned(), Some(SetState::Down))]);
        let (_, reason) = forwarder.set("b2").unwrap();
        assert!(
            reason.starts_with("check open: L4CON in ") && reason.contains("refused"),
            "{reason}"
        );
        let rows = rows(&controller);
        let states: Vec<_> = rows.iter().map(|row| (row.backend.as_str(), row.state)).collect();
        use CheckState::{Down, Up};
        assert_eq!(states, [("b1", Up), ("b2", Down), ("b3", Up)]);
        assert_eq!(rows[1].result.as_ref().map(|result| result.code), Some(CheckCode::L4Con));
        assert_eq!(rows[0].target, "10.9.0.1:80");
        let began = Instant::now();
        let _two = listen(2);
        until("up again", || forwarder.set("b2").is_none());
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        until("it is told", || controller.count("check_state") == 4);
        assert_eq!(controller.count("checks_first_over"), 1);
    });
}

#[test]
fn an_address_waits_for_the_first_results_and_no_longer() {
    with_backends(|node, forwarder| {
        let slow = OPEN
            .replace("interval = 100", "interval = 5000")
            .replace("spread = 100", "spread = 5000");
        forwarder.reload_text(checked("\"open\"", &slow));
        let listeners = [1, 2, 3].map(listen);
        let controller = node.start();
        let cause = || web(&controller).map(|vip| vip.cause);
        until("it is decided", || cause().is_some_and(|cause| cause != VipCause::NoForwarder));
        if routes(1000).is_empty() {
            // The first probes are spread over 5 s.
            until("a cause", || cause() == Some(VipCause::NotChecked) || !routes(1000).is_empty());
        }
        until("announced", || !routes(1000).is_empty());
        // An address that is announced stays so while another controller begins.
        controller.end(Signal::SIGKILL);
        let controller = node.start();
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            assert!(!routes(1000).is_empty());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(web(&controller).unwrap().cause, VipCause::Serving);
        drop(listeners);
    });
}

#[test]
fn what_an_earlier_run_has_set_is_followed_or_forgotten_and_others_stay() {
    with_backends(|node, forwarder| {
        let _listeners = [1, 3].map(listen);
        let own = (SetState::Down, "check gone: L4TOUT".to_owned());
        let of_others = (SetState::Draining, "a script".to_owned());
        forwarder.say(|said| {
            let place = |backend: &str| ("web".to_owned(), backend.to_owned());
            said.set.insert(place("b1"), own.clone());
            said.set.insert(place("b2"), (SetState::Down, "check open: L4CON".to_owned()));
            said.set.insert(place("b3"), of_others.clone());
        });
        let controller = node.start();
        until("b1 is well", || forwarder.set("b1").is_none());
        until("b2 is known", || {
            rows(&controller).iter().all(|row| row.state != CheckState::Unknown)
        });
        std::thread::sleep(Duration::from_millis(500));
        assert!(is_down(forwarder, "b2"));
        let of = |wanted: &str| {
            let changes = forwarder.changes().into_iter();
            changes
                .filter(|(backend, _)| backend == wanted)
                .map(|(_, state)| state)
                .collect::<Vec<_>>()
        };
        assert!(of("b2").iter().all(|state| *state == Some(SetState::Down)), "never up in between");
        assert_eq!(forwarder.set("b3"), Some(of_others));
        assert_eq!(of("b3"), []);
        // A check that is removed keeps nobody down.
        forwarder.reload_text(checked("", ""));
        until("b2 is free", || forwarder.set("b2").is_none());
        assert_eq!(rows(&controller), []);
        assert_eq!(of("b3"), []);
    });
}

#[test]
fn a_controller_that_was_stopped_blames_no_backend() {
    with_backends(|node, forwarder| {
        let _listeners = [1, 2, 3].map(listen);
        let controller = node.start();
        until("announced", || !routes(1000).is_empty());
        for _ in 0..3 {
            controller.signal(Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(1200));
            controller.signal(Signal::SIGCONT);
            std::thread::sleep(Duration::from_millis(500));
        }
        until("it goes on", || {
            controller.count("checks_frozen") == controller.count("checks_resumed")
        });
        assert_eq!(forwarder.changes(), []);
        assert!(controller.count("checks_frozen") > 0);
        assert!(rows(&controller).iter().all(|row| row.state == CheckState::Up));
    });
}

#[test]
fn a_probe_on_demand_says_each_step() {
    with_backends(|node, _forwarder| {
        let _one = listen(1);
        let controller = node.start();
        let run = |check: &str, backend: &str| {
            let (check, backend) = (check.to_owned(), backend.to_owned());
            controller.ask(&Request::CheckRun { check, backend, pool: None })
        };
        until("known", || rows(&controller).len() == 3);
        let Ok(Response::CheckRan(ran)) = run("open", "b1") else { panic!("b1") };
        assert_eq!(ran.result.code, CheckCode::L4Ok);
        assert!(ran.steps.iter().any(|step| step.step == "connect"), "{ran:?}");
        let Ok(Response::CheckRan(ran)) = run("open", "10.9.0.2") else { panic!("b2") };
        assert_eq!((ran.result.code, &*ran.backend), (CheckCode::L4Con, "b2"));
        for (check, backend, words) in
            [("shut", "b1", "the checks are open"), ("open", "b9", "no backend \"b9\"")]
        {
            let error = run(check, backend).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    });
}
