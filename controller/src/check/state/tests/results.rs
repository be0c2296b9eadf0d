//! Rise, fall, signs to drain, the node's own errors, freezes, and what listings and events say of them.

use guideway_api::{CheckDetails, CheckVia, MAX_REASON};
use guideway_config::InitialState;

use super::site::SitePool;
use super::*;

#[test]
fn states_follow_results_as_the_table_says() {
    // Rise 2, fall 3. The initial state, the results, and the state after each.
    let cases = [
        // The first result decides alone.
        (InitialState::Unknown, "s", "u"),
        (InitialState::Unknown, "f", "D"),
        (InitialState::Unknown, "d", "g"),
        (InitialState::Unknown, "eees", "???u"),
        (InitialState::Unknown, "ef", "?D"),
        // Up until `fall` in a row fail; a success between counts from the begin.
        (InitialState::Up, "fff", "uuD"),
        (InitialState::Up, "ffsffsfff", "uuuuuuuuD"),
        (InitialState::Up, "s", "u"),
        // Down until `rise` in a row succeed.
        (InitialState::Down, "ss", "Du"),
        (InitialState::Down, "sfsfss", "DDDDDu"),
        (InitialState::Down, "f", "D"),
        // After the first result, both counts hold.
        (InitialState::Unknown, "fss", "DDu"),
        (InitialState::Unknown, "sfff", "uuuD"),
        // A sign to drain holds at once, and so does its end.
        (InitialState::Up, "dsd", "gug"),
        (InitialState::Up, "ffdffsfff", "uuggguuuD"),
        // A draining server may fail, and a server that is down may drain when it comes back.
        (InitialState::Up, "dfff", "gggD"),
        (InitialState::Down, "dd", "Dg"),
        (InitialState::Down, "sd", "Dg"),
        (InitialState::Down, "ds", "Du"),
        (InitialState::Down, "dfd", "DDD"),
        // The node's own errors neither count nor break a row.
        (InitialState::Up, "feefef", "uuuuuD"),
        (InitialState::Down, "sees", "DDDu"),
        (InitialState::Up, "eeeeeeee", "uuuuuuuu"),
        (InitialState::Up, "deeee", "ggggg"),
    ];
    for (initial, results, expected) in cases {
        let mut site = Site::of(1, 100);
        site.checks.get_mut("web").unwrap().initial_state = initial;
        let mut rig = Rig::new(site);
        let mut states = String::new();
        for result in results.chars() {
            rig.results(1, &result.to_string());
            states.push(letter(rig.state(1)));
        }
        assert_eq!(states, expected, "{initial:?} {results}");
    }
}

#[test]
fn rise_and_fall_of_one_need_one() {
    let mut site = Site::of(1, 100);
    let check = site.checks.get_mut("web").unwrap();
    (check.rise, check.fall) = (1, 1);
    let mut rig = Rig::new(site);
    for (results, state) in [("s", 'u'), ("f", 'D'), ("s", 'u'), ("f", 'D'), ("d", 'g'), ("f", 'D')]
    {
        rig.results(1, results);
        assert_eq!(letter(rig.state(1)), state);
    }
}

#[test]
fn results_that_speak_against_the_state_quicken_the_probes() {
    let mut rig = Rig::new(Site::of(1, 100));
    let mut step = |results: &str| {
        rig.results(1, results);
        (rig.states.pace(&rig.key(1)).unwrap(), rig.row(1).against)
    };
    assert_eq!(step(""), (Pace::Normal, 0));
    assert_eq!(step("s"), (Pace::Normal, 0));
    assert_eq!(step("f"), (Pace::Fast, 1));
    assert_eq!(step("e"), (Pace::Fast, 1));
    assert_eq!(step("f"), (Pace::Fast, 2));
    assert_eq!(step("f"), (Pace::Down, 0));
    assert_eq!(step("s"), (Pace::Fast, 1));
    assert_eq!(step("f"), (Pace::Down, 0));
    assert_eq!(step("ss"), (Pace::Normal, 0));
    assert_eq!(step("d"), (Pace::Normal, 0));
    let gone = rig.site.key("p", "web", 81, 1);
    assert_eq!(rig.states.pace(&gone), None);
}

#[test]
fn wanted_says_why_and_never_active() {
    let mut rig = Rig::new(Site::of(1, 100));
    assert_eq!(rig.wanted(), ".");
    rig.results(1, "f");
    assert_eq!(rig.wanted(), "D");
    assert_eq!(
        rig.reason(1),
        "check web: L7STS 503 in 12 ms: the response's status is not expected"
    );
    assert!(Wanted::is_own(&rig.reason(1)) && !Wanted::is_own("checked by hand"));
    rig.results(1, "dd");
    assert_eq!(
        (&*rig.wanted(), &*rig.reason(1)),
        ("d", "check web: L7OKC in 12 ms: the server asks to be drained")
    );
    rig.results(1, "s");
    assert_eq!(rig.wanted(), ".");
    assert!(rig.states.wanted().is_empty());

    // Later results of the same kind do not change the words, so that nothing is set for them.
    rig.results(1, "fff");
    rig.states.differences();
    let key = rig.key(1);
    let other = ProbeResult { latency: Duration::from_micros(456), ..result(CheckCode::L4Tout) };
    rig.states.result(&key, other.clone(), rig.steady(), rig.wall());
    assert_eq!(rig.states.differences(), []);
    assert_eq!(&*other.reason("dns"), "check dns: L4TOUT in 0.4 ms: it failed");
}

#[test]
fn the_forwarder_accepts_every_reason() {
    for length in 150..270 {
        for end in ["x", "é", "\u{10348}", "\n", "\u{85}"] {
            let detail = "y".repeat(length) + &end.repeat(40);
            let reason =
                ProbeResult { detail: detail.into(), ..result(CheckCode::L7Rsp) }.reason("web");
            assert!((150..=MAX_REASON).contains(&reason.len()), "{}", reason.len());
            assert!(!reason.contains(char::is_control));
        }
    }
    let latency = Duration::MAX;
    let reason = ProbeResult { latency, ..result(CheckCode::L7Rsp) }.reason(&"c".repeat(300));
    assert_eq!(reason.len(), MAX_REASON);
}

/// Two checks: down if any says so, else draining if any says so.
#[test]
fn the_worst_of_a_backends_checks_counts() {
    let mut site = Site::of(1, 100);
    site.checks.insert("dns".to_owned(), site::check("dns"));
    site.pools.get_mut("p").unwrap().uses.insert(("dns".to_owned(), 53));
    let mut rig = Rig::new(site);
    let dns = rig.site.key("p", "dns", 53, 1);
    for (web, other, wanted) in [
        ("s", "s", "."),
        ("d", "", "d"),
        ("", "fff", "D"),
        ("s", "", "D"),
        ("fff", "", "D"),
        ("", "ss", "D"),
        ("ss", "d", "d"),
        ("d", "s", "d"),
        ("s", "", "."),
    ] {
        rig.results(1, web);
        rig.results_of(&dns, other);
        assert_eq!(rig.wanted(), wanted, "{web} {other}");
    }
}

#[test]
fn pools_that_share_a_target_get_its_state_each() {
    let mut site = Site::of(2, 100);
    let pool = SitePool { backends: [("x".to_owned(), 1)].into(), ..site.pools["p"].clone() };
    site.pools.insert("q".to_owned(), pool.clone());
    site.pools.insert("r".to_owned(), pool);
    let mut rig = Rig::new(site);
    assert_eq!(rig.site.plan().targets.len(), 2);
    let changes = rig.results(1, "f");
    let members: Vec<_> = changes
        .iter()
        .map(|change| match change {
            Change::State { check, member, address, from, to, result } => {
                assert_eq!((&**check, *address), ("web", site::address(1)));
                assert_eq!((*from, *to), (CheckState::Unknown, CheckState::Down));
                assert_eq!((result.code, result.status), (CheckCode::L7Sts, Some(503)));
                assert_eq!(
                    (result.latency_us, &*result.time),
                    (12_345, "2023-11-14T22:13:20.000Z")
                );
                member.clone()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [member("p", "b1"), member("q", "x"), member("r", "x")];
    assert_eq!(members, expected);
    assert!(rig.states.wanted().keys().eq(&expected));
    let differences = rig.states.differences();
    assert!(differences.iter().map(|(member, _)| member).eq(&expected));
    let found: Vec<_> =
        rig.states.find("web", "10.0.0.1", None).map(|(_, found)| found.clone()).collect();
    assert_eq!(found, expected);
    let found: Vec<_> =
        rig.states.find("web", "x", Some("r")).map(|(_, found)| found.clone()).collect();
    assert_eq!(found, expected[2..]);
    assert_eq!(rig.states.find("dns", "x", None).count(), 0);
}

#[test]
fn differences_are_what_is_to_be_sent() {
    let mut rig = Rig::new(Site::of(3, 100));
    assert_eq!(rig.states.differences(), []);
    rig.results(1, "f");
    rig.results(2, "d");
    let differences = rig.states.differences();
    let states = differences
        .iter()
        .map(|(member, wanted)| (&*member.backend, wanted.as_ref().unwrap().state));
    assert!(states.eq([("b1", SetState::Down), ("b2", SetState::Draining)]));
    assert_eq!(rig.states.differences(), []);
    // There and back.
    rig.results(3, "fss");
    assert_eq!(rig.states.differences(), []);
    rig.results(1, "ss");
    assert_eq!(rig.states.differences(), [(member("p", "b1"), None)]);
    // Gone.
    rig.edit(|site| _ = site.pools.get_mut("p").unwrap().backends.remove("b2"));
    assert_eq!(rig.states.differences(), [(member("p", "b2"), None)]);
}

#[test]
fn a_freeze_keeps_states_and_begins_the_counts_anew() {
    let mut rig = Rig::new(Site::of(1, 100));
    rig.results(1, "sff");
    assert_eq!(rig.states.freeze(FreezeCause::Late), Some(Change::Frozen(FreezeCause::Late)));
    assert_eq!(rig.states.freeze(FreezeCause::Late), None);
    assert_eq!(rig.results(1, "ffffff"), []);
    assert_eq!((rig.state(1), rig.wanted().as_str()), (CheckState::Up, "."));
    // Listed all the same.
    assert_eq!(rig.row(1).result.unwrap().code, CheckCode::L7Sts);
    assert_eq!(rig.states.frozen().unwrap(), "the checks run late");
    assert_eq!(
        rig.states.freeze(FreezeCause::Forwarder),
        Some(Change::Frozen(FreezeCause::Forwarder))
    );
    assert_eq!(
        rig.states.frozen().unwrap(),
        "the checks run late; the forwarder is gone or silent"
    );
    assert_eq!(rig.states.thaw(FreezeCause::Late), None);
    rig.results(1, "fff");
    assert_eq!(rig.state(1), CheckState::Up);
    assert_eq!(rig.states.thaw(FreezeCause::Forwarder), Some(Change::Resumed));
    assert_eq!(rig.states.thaw(FreezeCause::Forwarder), None);
    assert_eq!((rig.states.frozen(), rig.row(1).against), (None, 0));
    rig.results(1, "ff");
    assert_eq!(rig.state(1), CheckState::Up);
    rig.results(1, "f");
    assert_eq!(rig.state(1), CheckState::Down);
}

#[test]
fn a_missing_interface_freezes_tunnels_alone() {
    let mut site = Site::of(1, 100);
    let pool = SitePool { tunnel: Some("gre"), ..site.pools["p"].clone() };
    site.pools.insert("q".to_owned(), pool);
    let mut rig = Rig::new(site);
    let tunnel = rig.site.key("q", "web", 80, 1);
    rig.all("s");
    let row = rig.states.row(&tunnel, &member("q", "b1")).unwrap();
    assert_eq!((row.via, &*row.target), (CheckVia::Tunnel, "203.0.113.1:80"));
    assert_eq!(rig.states.row(&tunnel, &member("p", "b1")), None);
    rig.states.freeze(FreezeCause::Interface);
    rig.results(1, "ff");
    rig.results_of(&tunnel, "fff");
    // What was never frozen keeps its counts.
    rig.states.thaw(FreezeCause::Interface);
    assert_eq!(rig.row(1).against, 2);
    rig.results(1, "f");
    rig.results_of(&tunnel, "ff");
    let states = rig.states.rows().map(|row| (row.via, row.state));
    let expected = [(CheckVia::Direct, CheckState::Down), (CheckVia::Tunnel, CheckState::Up)];
    assert!(states.eq(expected));
}

#[test]
fn the_first_round_is_over_once() {
    let mut rig = Rig::empty(Site::of(2, 100));
    assert!(!rig.states.is_first_over());
    assert_eq!(rig.reload(), []);
    rig.results(1, "s");
    rig.results(2, "e");
    assert!(!rig.states.is_first_over());
    assert_eq!(rig.results(2, "d").last(), Some(&Change::FirstOver));
    assert!(rig.states.is_first_over());
    let changes =
        rig.edit(|site| _ = site.pools.get_mut("p").unwrap().backends.insert("b3".into(), 3));
    assert_eq!((changes, rig.states.is_first_over()), (vec![], true));
    assert_eq!(rig.results(3, "s").len(), 1);
    // Nothing to wait for.
    let mut site = Site::of(2, 100);
    site.checks.get_mut("web").unwrap().initial_state = InitialState::Down;
    for site in [site, Site::default()] {
        assert_eq!(Rig::empty(site).reload(), [Change::FirstOver]);
    }
    // The last unknown target may also go by a reload.
    let mut rig = Rig::new(Site::of(2, 100));
    rig.results(1, "s");
    let changes = rig.edit(|site| _ = site.pools.get_mut("p").unwrap().backends.remove("b2"));
    assert_eq!(changes, [Change::FirstOver]);
}

#[test]
fn listings_have_the_last_results() {
    let mut rig = Rig::new(Site::of(1, 100));
    rig.pass(1_000);
    rig.results(1, "f");
    for _ in 0..30 {
        rig.pass(1_000);
        rig.results(1, "s");
    }
    let CheckDetails { row, pools, results, .. } =
        rig.states.details(&rig.key(1), &member("p", "b1")).unwrap();
    assert_eq!((row.state, &*row.since), (CheckState::Up, "2023-11-14T22:13:23.000Z"));
    assert_eq!((pools, results.len()), (vec!["p".to_owned()], 20));
    assert_eq!(results[0].time, "2023-11-14T22:13:51.000Z");
    assert_eq!(results[19].time, "2023-11-14T22:13:32.000Z");
    assert_eq!(row.result, Some(results[0].clone()));
    // A clock that is far off is no fault.
    let key = rig.key(1);
    rig.states.result(&key, result(CheckCode::L7Ok), rig.steady(), Wall(u64::MAX));
    assert_eq!(rig.row(1).result.unwrap().time, "9999-12-31T23:59:59.999Z");
}

#[test]
fn results_of_targets_that_are_gone_change_nothing() {
    let mut rig = Rig::new(Site::of(1, 100));
    let key = rig.key(1);
    rig.edit(|site| site.pools.clear());
    assert_eq!(rig.results_of(&key, "ffff"), []);
    assert!(rig.states.wanted().is_empty());
    assert_eq!(rig.states.rows().count(), 0);
}
