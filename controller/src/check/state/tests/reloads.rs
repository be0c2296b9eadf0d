//! What another configuration leaves of what is known.

use guideway_config::{Check, InitialState};

use super::site::SitePool;
use super::*;

fn pool(site: &mut Site) -> &mut SitePool {
    site.pools.get_mut("p").unwrap()
}

fn web(site: &mut Site) -> &mut Check {
    site.checks.get_mut("web").unwrap()
}

#[test]
fn an_unchanged_check_keeps_its_state_and_counts() {
    let mut rig = Rig::new(Site::of(2, 100));
    rig.results(1, "sff");
    rig.results(2, "fs");
    let before = (rig.row(1), rig.row(2));
    rig.pass(5_000);
    assert_eq!(rig.reload(), []);
    // Something else is edited.
    rig.edit(|site| {
        pool(site).threshold = 90;
        pool(site).backends.insert("b3".to_owned(), 3);
        site.checks.insert("dns".to_owned(), site::check("dns"));
    });
    assert_eq!((rig.row(1), rig.row(2)), before);
    rig.results(1, "f");
    rig.results(2, "s");
    assert_eq!(rig.wanted(), "D..");
}

#[test]
fn an_edited_check_keeps_the_state_until_its_own_rise_or_fall() {
    for edit in [
        (|check| check.timeout = Duration::from_millis(900)) as fn(&mut Check),
        |check| check.fall = 4,
        |check| check.initial_state = InitialState::Down,
        |check| check.size = Some(1_400),
    ] {
        let mut rig = Rig::new(Site::of(3, 100));
        rig.results(1, "sff");
        rig.results(2, "fs");
        rig.edit(|site| edit(web(site)));
        assert_eq!((rig.state(1), rig.row(1).against), (CheckState::Up, 0));
        assert_eq!((rig.state(2), rig.row(2).against), (CheckState::Down, 0));
        assert_eq!(rig.state(3), CheckState::Unknown);
        // Two before and one more are not three.
        rig.results(1, "ff");
        rig.results(2, "s");
        assert_eq!(rig.wanted(), ".D.");
        rig.results(1, "ff");
        rig.results(2, "s");
        assert_eq!(rig.wanted(), "D..");
    }
}

#[test]
fn another_way_to_the_server_is_an_edited_check() {
    for edit in
        [(|site| pool(site).uses = [("web".to_owned(), 8080)].into()) as fn(&mut Site), |site| {
            pool(site).tunnel = Some("gre")
        }]
    {
        let mut rig = Rig::new(Site::of(2, 100));
        rig.results(1, "sff");
        rig.results(2, "fs");
        let reason = rig.reason(2);
        rig.edit(edit);
        let keys: Vec<_> = rig.site.plan().targets.into_keys().collect();
        let rows: Vec<_> = rig.states.rows().map(|row| (row.state, row.against)).collect();
        assert_eq!(rows, [(CheckState::Up, 0), (CheckState::Down, 0)]);
        assert_eq!((rig.wanted().as_str(), rig.reason(2)), (".D", reason));
        rig.results_of(&keys[0], "ff");
        rig.results_of(&keys[1], "s");
        assert_eq!(rig.wanted(), ".D");
        rig.results_of(&keys[0], "f");
        rig.results_of(&keys[1], "s");
        assert_eq!(rig.wanted(), "D.");
    }
}

#[test]
fn the_worst_of_several_ways_that_go_counts() {
    for (first, second, expected) in
        [("s", "fff", "D"), ("fff", "s", "D"), ("d", "s", "d"), ("s", "s", "."), ("e", "s", ".")]
    {
        let mut site = Site::of(1, 100);
        pool(&mut site).uses.insert(("web".to_owned(), 443));
        let mut rig = Rig::new(site);
        rig.results(1, first);
        let second_key = rig.site.key("p", "web", 443, 1);
        rig.results_of(&second_key, second);
        rig.edit(|site| pool(site).uses = [("web".to_owned(), 8080)].into());
        assert_eq!(rig.wanted(), expected, "{first} {second}");
    }
    // One way that stays is not taken for the one that goes.
    let mut site = Site::of(1, 100);
    pool(&mut site).uses.insert(("web".to_owned(), 443));
    let mut rig = Rig::new(site);
    rig.results(1, "s");
    let stays = rig.site.key("p", "web", 443, 1);
    rig.results_of(&stays, "f");
    rig.edit(|site| pool(site).uses = [("web".to_owned(), 443), ("web".to_owned(), 81)].into());
    rig.results_of(&stays, "ss");
    assert_eq!(rig.wanted(), ".");
}

/// Two pools share a target, and one of them gets another tunnel.
#[test]
fn a_target_that_parts_leaves_its_state_to_both() {
    let mut site = Site::of(1, 100);
    pool(&mut site).tunnel = Some("gre");
    site.pools.insert("q".to_owned(), site.pools["p"].clone());
    let mut rig = Rig::new(site);
    rig.results(1, "f");
    rig.edit(|site| pool(site).tunnel = Some("ipip"));
    assert_eq!(rig.site.plan().targets.len(), 2);
    assert!(rig.states.wanted().keys().eq(&[member("p", "b1"), member("q", "b1")]));
    rig.results(1, "ss");
    assert!(rig.states.wanted().keys().eq(&[member("q", "b1")]));
}

#[test]
fn a_new_backend_takes_the_initial_state() {
    for (initial, state, wanted) in [
        (InitialState::Unknown, CheckState::Unknown, ".."),
        (InitialState::Up, CheckState::Up, ".."),
        (InitialState::Down, CheckState::Down, ".D"),
    ] {
        let mut site = Site::of(1, 100);
        web(&mut site).initial_state = initial;
        let mut rig = Rig::new(site);
        rig.results(1, "ss");
        rig.edit(|site| _ = pool(site).backends.insert("b2".to_owned(), 2));
        assert_eq!((rig.state(2), &*rig.wanted()), (state, wanted));
        if initial == InitialState::Down {
            assert_eq!(rig.reason(2), "check web: not checked yet");
        }
    }
    // Not the address alone: another server by the same name is new, even if the old one was down.
    let mut rig = Rig::new(Site::of(1, 100));
    rig.results(1, "f");
    rig.edit(|site| _ = pool(site).backends.insert("b1".to_owned(), 9));
    assert_eq!(
        (&*rig.wanted(), rig.states.rows().next().unwrap().state),
        (".", CheckState::Unknown)
    );
    // A backend that is new to its pool, while another pool has the same target, is known already.
    let mut rig = Rig::new(Site::of(1, 100));
    rig.results(1, "f");
    rig.edit(|site| _ = site.pools.insert("q".to_owned(), site.pools["p"].clone()));
    assert_eq!(rig.states.wanted().len(), 2);
}

#[test]
fn many_new_backends_that_are_down_are_no_panic() {
    let mut site = Site::of(1, 50);
    web(&mut site).initial_state = InitialState::Down;
    let mut rig = Rig::new(site);
    assert_eq!(rig.wanted(), "D");
    let more = |site: &mut Site| pool(site).backends.extend((2..=9).map(|n| (format!("b{n}"), n)));
    assert_eq!(rig.edit(more), []);
    assert_eq!(rig.wanted(), "DDDDDDDDD");
    // But a check that takes down at once what serves is.
    let mut rig = Rig::new(Site::of(3, 50));
    rig.all("s");
    let check = |site: &mut Site| {
        let check = Check { initial_state: InitialState::Down, ..site::check("dns") };
        site.checks.insert("dns".to_owned(), check);
        pool(site).uses.insert(("dns".to_owned(), 53));
    };
    assert_eq!(panics(&rig.edit(check)), "P");
    assert_eq!(rig.wanted(), "...");
}

#[test]
fn a_removed_check_never_pins_a_backend_down() {
    let remove: [fn(&mut Site); 4] = [
        |site| _ = site.checks.remove("web"),
        |site| pool(site).uses.clear(),
        |site| _ = pool(site).backends.remove("b1"),
        |site| site.pools.clear(),
    ];
    for remove in remove {
        let mut rig = Rig::new(Site::of(1, 100));
        rig.results(1, "f");
        rig.states.differences();
        rig.edit(remove);
        assert!(rig.states.wanted().is_empty());
        assert_eq!(rig.states.differences(), [(member("p", "b1"), None)]);
    }
    // One of two.
    let mut site = Site::of(1, 100);
    site.checks.insert("dns".to_owned(), site::check("dns"));
    pool(&mut site).uses.insert(("dns".to_owned(), 53));
    let mut rig = Rig::new(site);
    rig.all("s");
    rig.results(1, "fff");
    rig.edit(|site| _ = site.checks.remove("web"));
    assert!(rig.states.wanted().is_empty());
    // It is new when it comes back.
    rig.edit(|site| _ = site.checks.insert("web".to_owned(), site::check("web")));
    assert_eq!((rig.state(1), rig.states.wanted().len()), (CheckState::Unknown, 0));
}

/// While a new check is unknown, the backend stays as it was: another name for a check does not send traffic to dead
/// servers.
#[test]
fn a_check_that_takes_the_place_of_another_decides_by_its_first_result() {
    let rename = |site: &mut Site| {
        let check = site.checks.remove("web").unwrap();
        site.checks.insert("w3".to_owned(), Check { name: "w3".to_owned(), ..check });
        pool(site).uses = [("w3".to_owned(), 80)].into();
    };
    for (before, held, result, after) in
        [("f", "D", "s", "."), ("f", "D", "f", "D"), ("d", "d", "s", "."), ("s", ".", "f", "D")]
    {
        let mut rig = Rig::new(Site::of(1, 100));
        rig.results(1, before);
        rig.edit(rename);
        assert_eq!(rig.wanted(), held);
        let key = rig.site.key("p", "w3", 80, 1);
        rig.results_of(&key, "e");
        rig.reload();
        assert_eq!(rig.wanted(), held);
        rig.results_of(&key, result);
        assert_eq!(rig.wanted(), after);
        // What was held is forgotten.
        rig.results_of(&key, "ss");
        assert_eq!(rig.wanted(), ".");
    }
}

#[test]
fn a_controller_that_starts_anew_keeps_what_was_set() {
    let earlier = [("b1", SetState::Down), ("b2", SetState::Draining), ("gone", SetState::Down)];
    for initial in [InitialState::Unknown, InitialState::Up, InitialState::Down] {
        let mut site = Site::of(3, 100);
        web(&mut site).initial_state = initial;
        let mut rig = Rig::beside(site, &earlier);
        assert_eq!(
            (&*rig.wanted(), &*rig.reason(1)),
            ("Dd.", "check old: it was so"),
            "{initial:?}"
        );
        assert_eq!(rig.states.wanted().len(), 2);
        assert!(!rig.states.is_first_over());
        // A freeze, and errors of the node, do not end it.
        rig.states.freeze(FreezeCause::Forwarder);
        rig.all("sss");
        rig.states.thaw(FreezeCause::Forwarder);
        rig.all("e");
        assert_eq!(rig.wanted(), "Dd.");
        // The first result decides alone.
        rig.all("s");
        assert_eq!(rig.wanted(), "...");
        assert!(rig.states.is_first_over());
    }
    let mut rig = Rig::beside(Site::of(3, 100), &earlier);
    rig.all("f");
    assert_eq!(rig.wanted(), "DDD");
    assert!(rig.reason(1).starts_with("check web: L7STS 503"));
}

#[test]
fn what_was_set_holds_until_each_check_of_the_backend_has_a_result() {
    let mut site = Site::of(1, 100);
    site.checks.insert("dns".to_owned(), site::check("dns"));
    pool(&mut site).uses.insert(("dns".to_owned(), 53));
    for (second, expected) in [("s", "."), ("f", "D"), ("d", "d")] {
        let mut rig = Rig::beside(site.clone(), &[("b1", SetState::Down)]);
        rig.results(1, "s");
        assert_eq!(rig.wanted(), "D");
        let dns = rig.site.key("p", "dns", 53, 1);
        rig.results_of(&dns, second);
        assert_eq!(rig.wanted(), expected);
    }
}

#[test]
fn what_has_ended_is_not_held_again() {
    let mut site = Site::of(1, 100);
    site.checks.insert("dns".to_owned(), site::check("dns"));
    let uses = [("dns".to_owned(), 53)].into();
    let other = SitePool { uses, ..site.pools["p"].clone() };
    site.pools.insert("q".to_owned(), other);
    let mut rig = Rig::beside(site, &[("b1", SetState::Down)]);
    rig.results(1, "s");
    assert_eq!(rig.wanted(), ".");
    // A target that is unknown, but not new, becomes this backend's too.
    rig.edit(|site| _ = pool(site).uses.insert(("dns".to_owned(), 53)));
    assert_eq!(rig.wanted(), ".");
}
