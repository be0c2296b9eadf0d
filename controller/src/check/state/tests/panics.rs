//! Pools that lose too many backends at once.

use super::site::SitePool;
use super::*;

#[test]
fn a_pool_keeps_what_it_loses_at_once() {
    let mut rig = Rig::new(Site::of(4, 50));
    rig.all("s");
    rig.results(1, "fff");
    rig.results(2, "fff");
    assert_eq!(rig.wanted(), "DD..");
    rig.states.differences();
    // Three of four are more than half: the two come back.
    let changes = rig.results(3, "fff");
    assert_eq!(changes.last(), Some(&Change::Panic { pool: "p".into(), failing: 3, backends: 4 }));
    assert_eq!(rig.wanted(), "....");
    assert_eq!(rig.states.differences(), [(member("p", "b1"), None), (member("p", "b2"), None)]);
    assert_eq!(
        rig.states.rows().map(|row| row.kept).collect::<Vec<_>>(),
        [true, true, true, false]
    );
    assert_eq!(rig.state(1), CheckState::Down);
    // So does what falls during the panic, however late.
    rig.pass(3_600_000);
    assert_eq!(panics(&rig.results(4, "fff")), "");
    assert_eq!(rig.wanted(), "....");
    // Three of four still fail, then two: those go down.
    assert_eq!(panics(&rig.results(1, "ss")), "");
    let changes = rig.results(4, "ss");
    assert_eq!(changes.last(), Some(&Change::Calm { pool: "p".into() }));
    assert_eq!(rig.wanted(), ".DD.");
    assert!(rig.states.rows().all(|row| !row.kept));
    // And come back as their results do.
    rig.results(2, "ss");
    assert_eq!(rig.wanted(), "..D.");
}

#[test]
fn what_was_down_before_stays_down() {
    let mut rig = Rig::new(Site::of(5, 50));
    rig.all("s");
    rig.results(1, "fff");
    // The window of fall 3, interval 2 s, jitter 10 percent, timeout 1 s.
    rig.pass(7_601);
    for last in 2..=4 {
        rig.results(last, "fff");
    }
    assert_eq!(rig.wanted(), "D....");
    // One that recovers amid the panic and fails again is kept.
    rig.results(1, "ss");
    assert_eq!(rig.wanted(), ".....");
    rig.results(1, "fff");
    assert_eq!(rig.wanted(), ".....");
}

#[test]
fn only_what_falls_within_the_window_counts() {
    for (gap, expected) in [(3_800, "P"), (3_801, "")] {
        let mut rig = Rig::new(Site::of(4, 50));
        rig.all("s");
        let mut found = String::new();
        for last in 1..=3 {
            found += &panics(&rig.results(last, "fff"));
            rig.pass(gap);
        }
        assert_eq!(found, expected, "{gap}");
    }
    // One that has recovered does not count.
    let mut rig = Rig::new(Site::of(4, 50));
    rig.all("s");
    rig.results(1, "fffss");
    rig.results(2, "fff");
    assert_eq!(panics(&rig.results(3, "fff")), "");
    assert_eq!(panics(&rig.results(1, "fff")), "P");
}

#[test]
fn the_window_is_that_of_the_slowest_check() {
    let quick = |check: &mut guideway_config::Check| {
        (check.interval, check.fast_interval) =
            (Duration::from_millis(10), Duration::from_millis(10));
        (check.timeout, check.fall) = (Duration::from_millis(5), 1);
    };
    let lasts = |site: Site| {
        let mut rig = Rig::new(site);
        rig.all("s");
        let key = rig.site.plan().targets.into_keys().next().unwrap();
        rig.results_of(&key, "ffff");
        let mut low = 0;
        let mut high = 1_000_000;
        // How late the second of two backends may fail, so that it is a panic of 2 of 2.
        while high - low > 1 {
            let middle = (low + high) / 2;
            let mut rig = Rig::new(rig.site.clone());
            rig.all("s");
            rig.results(1, "ffff");
            rig.pass(middle);
            if panics(&rig.results(2, "ffff")) == "P" { low = middle } else { high = middle }
        }
        low
    };
    let mut site = Site::of(2, 99);
    quick(site.checks.get_mut("web").unwrap());
    assert_eq!(lasts(site.clone()), 5_000, "the least");
    let mut slow = site::check("a");
    (slow.fall, slow.jitter) = (4, 50);
    slow.fast_interval = Duration::from_secs(3);
    site.checks.insert("a".to_owned(), slow);
    site.pools.get_mut("p").unwrap().uses.insert(("a".to_owned(), 53));
    assert_eq!(lasts(site), 4 * 4_500 + 1_000);
}

#[test]
fn thresholds() {
    // Backends, threshold, and how many of them have to fail at once until there is panic; 0 for never.
    for (backends, threshold, expected) in [
        (1, 50, 1),
        (1, 99, 1),
        (1, 100, 0),
        (1, 0, 1),
        (2, 50, 2),
        (3, 50, 2),
        (10, 0, 1),
        (10, 50, 6),
        (10, 90, 10),
        (10, 100, 0),
        (100, 33, 34),
    ] {
        let mut rig = Rig::new(Site::of(backends, threshold));
        rig.all("s");
        let begins = (1..=backends).find(|&last| panics(&rig.results(last, "fff")) == "P");
        assert_eq!(begins.unwrap_or(0), expected, "{backends} {threshold}");
        // With a panic nothing is down; without, everything.
        let wanted = if expected == 0 { 'D' } else { '.' };
        rig.all("fff");
        assert!(rig.wanted().chars().all(|found| found == wanted), "{backends} {threshold}");
        // It is over when all work, whatever the threshold.
        let changes = rig.all("ss");
        assert_eq!(panics(&changes), if expected == 0 { "" } else { "C" });
        assert!(rig.states.wanted().is_empty());
    }
}

#[test]
fn all_that_fail_at_the_start_are_kept() {
    let mut rig = Rig::new(Site::of(4, 50));
    assert_eq!(panics(&rig.all("f")), "P");
    assert_eq!(rig.wanted(), "....");
    // But not what an earlier run has found down.
    let down = ["b1", "b2", "b3", "b4"].map(|backend| (backend, SetState::Down));
    let mut rig = Rig::beside(Site::of(4, 50), &down);
    assert_eq!(rig.wanted(), "DDDD");
    assert_eq!(panics(&rig.all("f")), "");
    assert_eq!(rig.wanted(), "DDDD");
}

#[test]
fn a_kept_backend_may_drain() {
    let mut site = Site::of(2, 50);
    site.checks.insert("dns".to_owned(), site::check("dns"));
    site.pools.get_mut("p").unwrap().uses.insert(("dns".to_owned(), 53));
    let mut rig = Rig::new(site);
    rig.all("s");
    let dns = rig.site.key("p", "dns", 53, 1);
    rig.results_of(&dns, "d");
    rig.results(1, "fff");
    assert_eq!(rig.wanted(), "D.");
    assert_eq!(panics(&rig.results(2, "fff")), "P");
    assert_eq!(rig.wanted(), "d.");
    // Only the check that says down is overruled.
    assert!(rig.row(1).kept && !rig.states.row(&dns, &member("p", "b1")).unwrap().kept);
}

#[test]
fn each_pool_has_its_own_panic() {
    let mut site = Site::of(2, 50);
    let mut pool = SitePool { threshold: 100, ..site.pools["p"].clone() };
    site.pools.insert("q".to_owned(), pool.clone());
    pool.threshold = 50;
    pool.backends.extend((3..=4).map(|last| (format!("b{last}"), last)));
    site.pools.insert("r".to_owned(), pool);
    let mut rig = Rig::new(site);
    rig.all("s");
    rig.results(1, "fff");
    assert_eq!(panics(&rig.results(2, "fff")), "P");
    let wanted: Vec<_> = rig.states.wanted().keys().cloned().collect();
    assert_eq!(
        wanted,
        [member("q", "b1"), member("q", "b2"), member("r", "b1"), member("r", "b2")]
    );
}

#[test]
fn a_panic_does_not_move_while_states_are_frozen() {
    let mut rig = Rig::new(Site::of(2, 50));
    rig.all("s");
    rig.states.freeze(FreezeCause::Late);
    assert_eq!(rig.all("ffff"), []);
    rig.states.thaw(FreezeCause::Late);
    assert_eq!(panics(&rig.all("fff")), "P");
    rig.states.freeze(FreezeCause::Forwarder);
    assert_eq!(rig.all("ssss"), []);
    assert!(rig.row(1).kept);
    rig.states.thaw(FreezeCause::Forwarder);
    assert_eq!(panics(&rig.all("ss")), "C");
}

#[test]
fn a_reload_may_end_a_panic_or_begin_one() {
    let mut rig = Rig::new(Site::of(4, 50));
    rig.all("s");
    for last in 1..=3 {
        rig.results(last, "fff");
    }
    assert_eq!(rig.wanted(), "....");
    let threshold = |to| move |site: &mut Site| site.pools.get_mut("p").unwrap().threshold = to;
    assert_eq!(rig.edit(|_| {}), []);
    assert_eq!(rig.edit(threshold(75)), [Change::Calm { pool: "p".into() }]);
    assert_eq!(rig.wanted(), "DDD.");
    let panic = Change::Panic { pool: "p".into(), failing: 3, backends: 4 };
    assert_eq!(rig.edit(threshold(74)), [panic]);
    assert_eq!(rig.wanted(), "....");
    rig.edit(threshold(100));
    rig.pass(7_601);
    assert_eq!(rig.edit(threshold(0)), [], "they fell long ago");
    assert_eq!(rig.wanted(), "DDD.");
    // More backends, so that three are no longer too many.
    let mut rig = Rig::new(Site::of(4, 50));
    rig.all("s");
    (1..=3).for_each(|last| _ = rig.results(last, "fff"));
    let more = |site: &mut Site| {
        let more = (5..=6).map(|last| (format!("b{last}"), last));
        site.pools.get_mut("p").unwrap().backends.extend(more);
    };
    assert_eq!(panics(&rig.edit(more)), "C");
    assert_eq!(rig.wanted(), "DDD...");
}

/// Another name for a pool or a backend amid a panic is no end of it.
#[test]
fn a_new_name_keeps_its_part_in_a_panic() {
    let mut rig = Rig::new(Site::of(2, 50));
    rig.all("sfff");
    rig.pass(100_000);
    let rename = |site: &mut Site| {
        let pool = site.pools.remove("p").unwrap();
        site.pools.insert("other".to_owned(), pool);
    };
    let changes = rig.edit(rename);
    let panic = Change::Panic { pool: "other".into(), failing: 2, backends: 2 };
    assert_eq!(changes, [panic, Change::Calm { pool: "p".into() }]);
    assert!(rig.states.wanted().is_empty());

    let mut rig = Rig::new(Site::of(2, 50));
    rig.all("sfff");
    rig.pass(100_000);
    let rename = |site: &mut Site| {
        let backends = &mut site.pools.get_mut("p").unwrap().backends;
        backends.remove("b1");
        backends.insert("c1".to_owned(), 1);
    };
    assert_eq!(rig.edit(rename), []);
    assert_eq!(rig.wanted(), "..");
    // Without a panic, a new name of a server that is down is down too.
    let mut rig = Rig::new(Site::of(3, 50));
    rig.all("s");
    rig.results(1, "fff");
    rig.edit(rename);
    assert_eq!(rig.wanted(), "..D");
}
