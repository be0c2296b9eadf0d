//! Random edits of checks and pools, results, freezes and restarts.

use std::collections::BTreeMap;

use guideway_config::{Check, InitialState};
use proptest::prelude::*;
use proptest::sample::select;

use super::site::{Site, SitePool};
use super::*;

/// An edit of the configuration. Numbers choose among what is there.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    AddPool(u8, Option<u8>),
    RemovePool(u8),
    RenamePool(u8, u8),
    AddBackend(u8, u8, u8),
    RemoveBackend(u8, u8),
    RenameBackend(u8, u8, u8),
    MoveBackend(u8, u8, u8),
    AddCheck(u8),
    RemoveCheck(u8),
    RenameCheck(u8, u8),
    ChangeCheck(u8, u8, u8),
    Use(u8, u8, u16),
    DoNotUse(u8, u8),
    Port(u8, u8, u16),
    Tunnel(u8, Option<&'static str>),
    Threshold(u8, u8),
    Nothing,
}

pub(super) fn edit() -> impl Strategy<Value = Edit> {
    let n = || 0..8_u8;
    let port = || select(vec![80, 443]);
    prop_oneof![
        4 => (n(), prop::option::of(n())).prop_map(|(pool, like)| Edit::AddPool(pool, like)),
        1 => n().prop_map(Edit::RemovePool),
        2 => (n(), n()).prop_map(|(pool, to)| Edit::RenamePool(pool, to)),
        9 => (n(), n(), n()).prop_map(|(pool, name, at)| Edit::AddBackend(pool, name, at)),
        2 => (n(), n()).prop_map(|(pool, which)| Edit::RemoveBackend(pool, which)),
        2 => (n(), n(), n()).prop_map(|(pool, which, to)| Edit::RenameBackend(pool, which, to)),
        1 => (n(), n(), n()).prop_map(|(pool, which, to)| Edit::MoveBackend(pool, which, to)),
        4 => n().prop_map(Edit::AddCheck),
        1 => n().prop_map(Edit::RemoveCheck),
        2 => (n(), n()).prop_map(|(which, to)| Edit::RenameCheck(which, to)),
        3 => (n(), n(), n()).prop_map(|(which, what, to)| Edit::ChangeCheck(which, what, to)),
        8 => (n(), n(), port()).prop_map(|(pool, check, port)| Edit::Use(pool, check, port)),
        1 => (n(), n()).prop_map(|(pool, which)| Edit::DoNotUse(pool, which)),
        2 => (n(), n(), port()).prop_map(|(pool, which, port)| Edit::Port(pool, which, port)),
        2 => (n(), select(vec![None, Some("gre"), Some("ipip")]))
            .prop_map(|(pool, tunnel)| Edit::Tunnel(pool, tunnel)),
        2 => (n(), select(vec![0, 20, 50, 50, 75, 100])).prop_map(|(pool, to)| Edit::Threshold(pool, to)),
        1 => Just(Edit::Nothing),
    ]
}

/// The entry of a number, of those that are there.
fn nth<V>(map: &BTreeMap<String, V>, n: u8) -> Option<String> {
    map.keys().nth(usize::from(n) % map.len().max(1)).cloned()
}

impl Edit {
    /// Edits the site; none if there is nothing to edit.
    pub(super) fn apply(&self, site: &mut Site) -> Option<()> {
        let pool_of = |site: &Site, n| nth(&site.pools, n);
        let use_of = |pool: &SitePool, n: u8| {
            pool.uses.iter().nth(usize::from(n) % pool.uses.len().max(1)).cloned()
        };
        match *self {
            Edit::AddPool(name, like) => {
                let like = like.and_then(|like| pool_of(site, like));
                let pool = like.map(|like| site.pools[&like].clone());
                let pool = pool.unwrap_or(SitePool { threshold: 50, ..SitePool::default() });
                site.pools.entry(format!("p{}", name % 4)).or_insert(pool);
            }
            Edit::RemovePool(pool) => _ = site.pools.remove(&pool_of(site, pool)?),
            Edit::RenamePool(pool, to) => {
                let pool = site.pools.remove(&pool_of(site, pool)?)?;
                site.pools.insert(format!("p{}", to % 4), pool);
            }
            Edit::AddBackend(pool, name, at) => {
                let pool = site.pools.get_mut(&pool_of(site, pool)?)?;
                pool.backends.insert(format!("b{name}"), at);
            }
            Edit::RemoveBackend(pool, which) => {
                let pool = site.pools.get_mut(&pool_of(site, pool)?)?;
                pool.backends.remove(&nth(&pool.backends, which)?);
            }
            Edit::RenameBackend(pool, which, to) => {
                let pool = site.pools.get_mut(&pool_of(site, pool)?)?;
                let backend = pool.backends.remove(&nth(&pool.backends, which)?)?;
                pool.backends.insert(format!("b{to}"), backend);
            }
            Edit::MoveBackend(pool, which, to) => {
                let pool = site.pools.get_mut(&pool_of(site, pool)?)?;
                pool.backends.insert(nth(&pool.backends, which)?, to);
            }
            Edit::AddCheck(name) => {
                let name = format!("c{}", name % 3);
                let check = site::check(&name);
                site.checks.entry(name).or_insert(check);
            }
            Edit::RemoveCheck(which) => _ = site.checks.remove(&nth(&site.checks, which)?),
            Edit::RenameCheck(which, to) => {
                let from = nth(&site.checks, which)?;
                let to = format!("c{}", to % 3);
                let check = site.checks.remove(&from)?;
                site.checks.insert(to.clone(), Check { name: to.clone(), ..check });
                for pool in site.pools.values_mut() {
                    let uses = std::mem::take(&mut pool.uses).into_iter();
                    let rename = |name: String| if name == from { to.clone() } else { name };
                    pool.uses = uses.map(|(check, port)| (rename(check), port)).collect();
                }
            }
            Edit::ChangeCheck(which, what, to) => {
                let check = site.checks.get_mut(&nth(&site.checks, which)?)?;
                match what {
                    0 | 1 => check.rise = u32::from(to % 4) + 1,
                    2 | 3 => check.fall = u32::from(to % 4) + 1,
                    4 => check.interval = Duration::from_millis(100 + 500 * u64::from(to)),
                    5 => check.jitter = to,
                    _ => {
                        let states = [InitialState::Unknown, InitialState::Up, InitialState::Down];
                        check.initial_state = states[usize::from(to % 3)];
                    }
                }
            }
            Edit::Use(pool, check, port) => {
                let check = nth(&site.checks, check)?;
                site.pools.get_mut(&pool_of(site, pool)?)?.uses.insert((check, port));
            }
            Edit::DoNotUse(pool, which) => {
                let pool = site.pools.get_mut(&pool_of(site, pool)?)?;
                pool.uses.remove(&use_of(pool, which)?);
            }
            Edit::Port(pool, which, port) => {
                let pool = site.pools.get_mut(&pool_of(site, pool)?)?;
                let (check, _) = pool.uses.take(&use_of(pool, which)?)?;
                pool.uses.insert((check, port));
            }
            Edit::Tunnel(pool, tunnel) => {
                site.pools.get_mut(&pool_of(site, pool)?)?.tunnel = tunnel
            }
            Edit::Threshold(pool, to) => site.pools.get_mut(&pool_of(site, pool)?)?.threshold = to,
            Edit::Nothing => {}
        }
        Some(())
    }
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Results of one target.
    Results(u8, Vec<char>),
    /// The same result of every target.
    All(char, u8),
    Freeze(FreezeCause),
    Thaw(FreezeCause),
    Pass(u64),
    Edit(Edit),
    /// The controller starts anew. It may know what was set.
    Restart(bool),
}

pub(super) fn other_event() -> impl Strategy<Value = Event> {
    let letter = || select(vec!['s', 's', 's', 'f', 'f', 'f', 'd', 'e']);
    let cause = || select(vec![FreezeCause::Late, FreezeCause::Forwarder, FreezeCause::Interface]);
    let times = vec![1, 100, 1_000, 2_500, 5_000, 5_001, 7_600, 7_601, 60_000];
    prop_oneof![
        12 => (any::<u8>(), prop::collection::vec(letter(), 1..5))
            .prop_map(|(target, letters)| Event::Results(target, letters)),
        4 => (letter(), 1..4_u8).prop_map(|(letter, times)| Event::All(letter, times)),
        1 => cause().prop_map(Event::Freeze),
        6 => cause().prop_map(Event::Thaw),
        4 => select(times).prop_map(Event::Pass),
    ]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => other_event(),
        8 => edit().prop_map(Event::Edit),
        1 => any::<bool>().prop_map(Event::Restart),
    ]
}
