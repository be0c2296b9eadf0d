//! BIRD started, stopped, restarted and refusing; the thread started again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use guideway_api::BgpState;
use guideway_config::{Bgp, BgpPeer};
use guideway_controller::bird::{Plan, Report};
use nix::sys::signal::Signal;

use crate::command::{announce, until};
use crate::network::{Network, with_network};
use crate::settings::{peer, router_v4};

#[test]
fn the_file_comes_before_bird_and_outlives_it() {
    with_network(|network| {
        network.start_router(&router_v4("n4"));
        announce("203.0.113.1", 1000);
        network.start();
        network.want(network.plan(vec![peer("a")]));
        network.await_report(
            "no BIRD",
            |r| matches!(r, Report::Lost { error } if error.contains("bird.ctl")),
        );
        // BIRD starts with the file.
        network.await_report("configured", |r| matches!(r, Report::Configured { .. }));
        assert_eq!(network.await_state("a", BgpState::Unknown).bfd_up, Some(false));
        let file = fs::metadata(network.run_directory().join("bird.conf")).unwrap();
        assert_eq!(file.mode() & 0o777, 0o640);
        network.forget();
        network.start_bird();
        network.await_report(
            "found",
            |r| matches!(r, Report::Found { version } if version.starts_with("2.")),
        );
        network.await_state("a", BgpState::Established);
        network.await_routes(&["203.0.113.1/32"]);

        network.forget();
        network.bird = None;
        network.await_report("lost", |r| matches!(r, Report::Lost { .. }));
        network.await_state("a", BgpState::Unknown);
        network.await_routes(&[]);
        network.start_bird();
        network.await_report("found", |r| matches!(r, Report::Found { .. }));
        network.await_state("a", BgpState::Established);
        network.await_routes(&["203.0.113.1/32"]);
    });
}

#[test]
fn a_bird_that_stands_still_is_lost_and_knows_nothing_new() {
    with_network(|network| {
        network.start_router(&router_v4("n4"));
        let plan = network.plan(vec![BgpPeer { bfd: false, ..peer("a") }]);
        network.establish(plan.clone(), &["a"]);
        network.forget();
        network.bird.as_ref().unwrap().signal(Signal::SIGSTOP);
        network.await_report(
            "lost",
            |r| matches!(r, Report::Lost { error } if error.contains("does not answer")),
        );
        network.forget();
        let mut other = plan;
        other.classes = crate::settings::classes(vec![(1, Default::default())]);
        network.want(other);
        thread::sleep(Duration::from_secs(2));
        let is_configured = |r: &Report| matches!(r, Report::Configured { .. });
        assert!(!network.reports().iter().any(is_configured), "{:?}", network.reports());
        network.bird.as_ref().unwrap().signal(Signal::SIGCONT);
        network.await_report("found", |r| matches!(r, Report::Found { .. }));
        network.await_report("configured", is_configured);
        network.await_state("a", BgpState::Established);
    });
}

#[test]
fn another_peer_leaves_sessions_and_routes_as_they_are() {
    with_network(|network| {
        let b = network.start_two();
        announce("203.0.113.1", 1000);
        network.establish(network.plan(vec![peer("a")]), &["a"]);
        network.await_routes(&["203.0.113.1/32"]);
        let (since, updates) = (network.session("a").unwrap().since, network.updates("n1"));
        network.configure(network.plan(vec![peer("a"), b]));
        network.await_state("b", BgpState::Established);
        network.configure(network.plan(vec![peer("a")]));
        until("b is gone", || network.session("b").is_none());
        let session = network.session("a").unwrap();
        assert_eq!((session.state, session.since), (BgpState::Established, since));
        assert_eq!(network.updates("n1"), updates);
    });
}

#[test]
fn a_controller_that_restarts_has_nothing_sent() {
    with_network(|network| {
        let b = network.start_two();
        announce("203.0.113.1", 1000);
        let plan = network.plan(vec![peer("a"), b]);
        network.establish(plan.clone(), &["a", "b"]);
        network.await_routes(&["203.0.113.1/32"]);
        let before = |network: &Network| {
            let since = network.session("a").unwrap().since;
            (since, network.updates("n1"), network.updates("n2"))
        };
        let (since, first, second) = before(network);
        let file = network.run_directory().join("bird.conf");
        let inode = fs::metadata(&file).unwrap().ino();
        network.handle = None;
        assert!(network.ask_bird("show protocols").contains("Established"), "it runs on");
        network.start();
        network.configure(plan.clone());
        // Whoever asks for the same gets nothing done, too.
        network.configure(plan);
        thread::sleep(Duration::from_secs(1));
        let session = network.await_state("a", BgpState::Established);
        let apart = |a: &str, b: &str| {
            let time = |text| humantime::parse_rfc3339(text).unwrap();
            let (a, b) = (time(a), time(b));
            a.duration_since(b).or_else(|_| b.duration_since(a)).unwrap()
        };
        assert!(apart(&session.since, &since) < Duration::from_millis(100));
        assert_eq!((network.updates("n1"), network.updates("n2")), (first, second));
        assert_eq!(fs::metadata(&file).unwrap().ino(), inode, "the file is not written again");
    });
}

#[test]
fn what_the_check_refuses_changes_nothing() {
    with_network(|network| {
        network.start_router(&router_v4("n4"));
        let plan = network.plan(vec![peer("a")]);
        network.establish(plan.clone(), &["a"]);
        let text = network.text();
        let long = network.plan(vec![
            peer("a"),
            BgpPeer { address: "10.9.1.2".parse().unwrap(), ..peer(&"x".repeat(63)) },
        ]);
        network.forget();
        network.want(long.clone());
        network.await_report(
            "refused",
            |r| matches!(r, Report::Refused { error } if error.contains("Symbol too long")),
        );
        assert_eq!(network.text(), text);
        assert_eq!(network.await_state("a", BgpState::Established).error, None);

        // The same if the check lets it pass, and BIRD refuses it.
        network.forget();
        let unchecked = Bgp { program: "/bin/true".into(), ..(*long.bgp).clone() };
        network.want(Plan { bgp: Arc::new(unchecked), ..long });
        network.await_report(
            "refused",
            |r| matches!(r, Report::Refused { error } if error.contains("BIRD refuses")),
        );
        assert_eq!(network.text(), text);
        network.configure(plan);
        assert_eq!(network.text(), text);
        network.await_state("a", BgpState::Established);
    });
}

#[test]
fn a_missing_password_is_waited_for() {
    with_network(|network| {
        network.start_router(&router_v4("n4"));
        let plan = network.plan(vec![BgpPeer { bfd: false, ..peer("a") }]);
        network.establish(plan.clone(), &["a"]);
        let text = network.text();
        let file = network.directory.path().join("secret");
        let peers = vec![BgpPeer { password_file: Some(file.clone()), bfd: false, ..peer("a") }];
        network.forget();
        network.want(network.plan(peers));
        let name = file.display().to_string();
        network.await_report(
            "refused",
            |r| matches!(r, Report::Refused { error } if error.contains(&name)),
        );
        assert_eq!(network.text(), text);
        network.await_state("a", BgpState::Established);
        fs::write(&file, "secret").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        network.await_report("configured", |r| matches!(r, Report::Configured { .. }));
        assert!(network.text().contains("password \"secret\";"));
        let refused = network.reports().into_iter().filter(|r| matches!(r, Report::Refused { .. }));
        assert_eq!(refused.count(), 1);
    });
}

#[test]
fn without_a_plan_bird_is_left_alone() {
    with_network(|network| {
        network.start_router(&router_v4("n4"));
        network.establish(network.plan(vec![peer("a")]), &["a"]);
        let text = network.text();
        network.handle.as_ref().unwrap().want(None);
        until("the order", || {
            let shown = network.handle.as_ref().unwrap().show("a");
            shown.is_err_and(|error| error.contains("managed"))
        });
        let reports = network.reports().len();
        network.bird = None;
        thread::sleep(Duration::from_millis(1500));
        assert_eq!(network.reports().len(), reports, "nobody asks BIRD");
        assert_eq!(network.text(), text);
    });
}
