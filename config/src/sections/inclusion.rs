//! What each pool can choose from: its own backends, those of the pools that it names, and those of its backups.
//!
//! Pools that name pools are a graph without cycles. A pool's *members* are its own backends and the members of
//! `pool.pools`, each once however many ways lead to it. Its *levels* are itself, its backup, the backup's backup, and
//! so on; each level has the members of its pool that no level before it has.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::names::Names;
use super::pool::{Inclusion, Inclusions, MAX_COUNT, PoolDraft};
use crate::findings::{Checked, Reported, excerpt};
use crate::section::Section;

/// Pools that can stand in for one another, in a row.
const MAX_LEVELS: usize = 8;

/// Inclusions up to which they are counted, for the message that there are too many.
const COUNTED: usize = 16 * MAX_COUNT;

/// Pools of a cycle that a message names.
const NAMED: usize = 16;

/// A backend: the index of its pool, and its own there.
type Member = (usize, usize);

/// What each pool can choose from; nothing if the pools could not be read.
pub(crate) fn read(
    root: &Section<'_>,
    pools: &Checked<Vec<PoolDraft>>,
) -> Vec<Checked<Inclusions>> {
    let names = Names::new("pool", pools, |pool| &pool.name);
    let pools = pools.as_ref().map_or(&[][..], Vec::as_slice);
    let mut graph = Graph::read(root, pools, &names);
    let order = graph.order();
    let mut included = match graph.members(&order) {
        Ok(members) => graph.included(&order, &members),
        Err(reported) => pools.iter().map(|_| Err(reported)).collect(),
    };
    let mut count = 0;
    let counts = included.iter().flatten().map(|found| found.included.len());
    let first = counts.enumerate().find_map(|(index, more)| {
        count += more;
        (count > MAX_COUNT).then_some(index)
    });
    if let Some(first) = first {
        let count = included.iter().flatten().map(|found| found.included.len()).sum();
        let reported = graph.too_many(first, count);
        included.iter_mut().for_each(|found| *found = Err(reported));
    }
    included
}

/// The pools that each pool names.
struct Graph<'a> {
    root: &'a Section<'a>,
    pools: &'a [PoolDraft],
    links: Vec<Links>,
}

/// The pools that one pool names.
struct Links {
    pools: Checked<Vec<usize>>,
    backup: Checked<Option<usize>>,
}

impl Links {
    /// Each pool in turn, the backup last.
    fn nth(&self, index: usize) -> Option<usize> {
        let pools = self.pools.as_ref().map_or(&[][..], Vec::as_slice);
        let backup = || self.backup.ok().flatten().filter(|_| index == pools.len());
        pools.get(index).copied().or_else(backup)
    }
}

#[derive(Clone, Copy)]
enum Visit {
    /// Not seen yet.
    New,
    /// On the way to the pool that is visited now, at this place.
    Open(usize),
    /// Seen with everything that it leads to.
    Done,
}

impl<'a> Graph<'a> {
    fn read(root: &'a Section<'a>, pools: &'a [PoolDraft], names: &Names<'_>) -> Self {
        let links = pools.iter().enumerate().map(|(index, draft)| {
            let path = |key| format!("pool[{index}].{key}");
            let named = names.find_all(root, &path("pools"), &draft.pools);
            let backup = draft.backup.as_ref().map_err(|reported| *reported);
            let backup = backup.and_then(|name| {
                let find = |name: &String| names.find(root, &path("backup"), name);
                name.as_ref().map(find).transpose()
            });
            Links { pools: named, backup }
        });
        Graph { root, pools, links: links.collect() }
    }

    fn name(&self, pool: usize) -> &'a str {
        self.pools[pool].name.as_ref().map_or("", String::as_str)
    }

    /// The pools, each behind those that it names. Cycles are reported, and the links that close them removed.
    fn order(&mut self) -> Vec<usize> {
        let mut visits = vec![Visit::New; self.links.len()];
        let mut order = Vec::with_capacity(self.links.len());
        let mut cycles = Vec::new();
        // The pools on the way, each with the number of its links that were followed.
        let mut way: Vec<(usize, usize)> = Vec::new();
        for start in 0..self.links.len() {
            if !matches!(visits[start], Visit::New) {
                continue;
            }
            visits[start] = Visit::Open(0);
            way.push((start, 0));
            while let Some((pool, followed)) = way.last_mut() {
                let (pool, link) = (*pool, *followed);
                let Some(target) = self.links[pool].nth(link) else {
                    visits[pool] = Visit::Done;
                    order.push(pool);
                    way.pop();
                    continue;
                };
                *followed += 1;
                match visits[target] {
                    Visit::New => {
                        visits[target] = Visit::Open(way.len());
                        way.push((target, 0));
                    }
                    Visit::Open(begin) => {
                        let reported = self.cycle(&way[begin..], target, link);
                        cycles.push((pool, link, reported));
                    }
                    Visit::Done => {}
                }
            }
        }
        for (pool, link, reported) in cycles {
            match &self.links[pool].pools {
                Ok(pools) if link == pools.len() => self.links[pool].backup = Err(reported),
                _ => self.links[pool].pools = Err(reported),
            }
        }
        order
    }

    /// Reports that the link of the last pool of a way leads back to the first.
    fn cycle(&self, way: &[(usize, usize)], target: usize, link: usize) -> Reported {
        let mut names: Vec<&str> = way.iter().map(|&(pool, _)| self.name(pool)).collect();
        let last = way.last().map_or(target, |&(pool, _)| pool);
        if names.len() > NAMED {
            names.splice(NAMED / 2..names.len() - NAMED / 2, ["..."]);
        }
        names.push(self.name(target));
        let of_pools = self.links[last].pools.as_ref().map_or(0, Vec::len);
        let (key, verb) = match link < of_pools {
            true => (format!("pools[{link}]"), "includes"),
            false => ("backup".to_owned(), "stands in for"),
        };
        let (name, names) = (excerpt(self.name(target)), names.join(" -> "));
        self.root.mistake(
            &format!("pool[{last}].{key}"),
            format!("pool {name} {verb} itself: {names}; remove one of these references"),
        )
    }

    /// The members of every pool.
    fn members(&self, order: &[usize]) -> Checked<Vec<Checked<Rc<[Member]>>>> {
        let mut members: Vec<Checked<Rc<[Member]>>> =
            self.pools.iter().map(|_| Ok(Rc::default())).collect();
        let mut count = 0;
        for &pool in order {
            members[pool] = self.members_of(pool, &members);
            count += members[pool].as_ref().map_or(0, |members| members.len());
            if count > COUNTED {
                return Err(self.too_many(pool, count));
            }
        }
        Ok(members)
    }

    fn members_of(&self, pool: usize, members: &[Checked<Rc<[Member]>>]) -> Checked<Rc<[Member]>> {
        let backends = self.pools[pool].backends.as_ref().map_err(|reported| *reported)?;
        let named = self.links[pool].pools.as_ref().map_err(|reported| *reported)?;
        let own = (0..backends.len()).map(|backend| (pool, backend));
        if named.is_empty() {
            return Ok(own.collect());
        }
        let mut all: Vec<Member> = own.collect();
        let mut seen: HashSet<Member> = all.iter().copied().collect();
        let address = |(pool, backend): Member| {
            let backends = self.pools[pool].backends.as_ref().ok()?;
            backends[backend].address.ok()
        };
        let mut addresses: HashMap<_, Member> =
            all.iter().filter_map(|&member| Some((address(member)?, member))).collect();
        let mut twice = None;
        for (at, &target) in named.iter().enumerate() {
            for &member in members[target].as_ref().map_err(|reported| *reported)?.iter() {
                if !seen.insert(member) {
                    continue;
                }
                all.push(member);
                if let Some(address) = address(member) {
                    let first = *addresses.entry(address).or_insert(member);
                    // Two backends of one pool are reported there.
                    if first.0 != member.0 {
                        twice.get_or_insert((at, address, first, member));
                    }
                }
            }
        }
        let Some((at, address, first, second)) = twice else { return Ok(all.into()) };
        let title = |(owner, backend)| {
            let path = format!("pool[{owner}].backends[{backend}].address");
            format!("pool {} on line {}", excerpt(self.name(owner)), self.root.line(&path))
        };
        let message = format!(
            "{address} is a backend of {} and of {}: a pool can have an address once; \
             remove one of them",
            title(first),
            title(second)
        );
        Err(self.root.mistake(&format!("pool[{pool}].pools[{at}]"), message))
    }

    /// What every pool can choose from.
    fn included(
        &self,
        order: &[usize],
        members: &[Checked<Rc<[Member]>>],
    ) -> Vec<Checked<Inclusions>> {
        let mut levels: Vec<Checked<Vec<usize>>> =
            (0..self.pools.len()).map(|pool| Ok(vec![pool])).collect();
        for &pool in order {
            levels[pool] = self.levels_of(pool, &levels);
        }
        let included = |(levels, links): (Checked<Vec<usize>>, &Links)| {
            let (levels, pools) = (levels?, links.pools.clone()?);
            let (mut included, mut seen) = (Vec::new(), HashSet::new());
            for (level, &of) in levels.iter().enumerate() {
                for &member in members[of].as_ref().map_err(|reported| *reported)?.iter() {
                    if levels.len() == 1 || seen.insert(member) {
                        let (pool, backend) = member;
                        included.push(Inclusion { pool, backend, level });
                    }
                }
            }
            Ok(Inclusions { pools, levels, included })
        };
        levels.into_iter().zip(&self.links).map(included).collect()
    }

    fn levels_of(&self, pool: usize, levels: &[Checked<Vec<usize>>]) -> Checked<Vec<usize>> {
        let Some(backup) = self.links[pool].backup? else { return Ok(vec![pool]) };
        let further = levels[backup].as_ref().map_err(|reported| *reported)?;
        if further.len() == MAX_LEVELS {
            let message = format!(
                "is the first of {} backups in a row; there can be {}: remove one",
                further.len(),
                MAX_LEVELS - 1
            );
            return Err(self.root.mistake(&format!("pool[{pool}].backup"), message));
        }
        Ok(std::iter::once(pool).chain(further.iter().copied()).collect())
    }

    fn too_many(&self, pool: usize, count: usize) -> Reported {
        let count = match count > COUNTED {
            true => format!("over {COUNTED}"),
            false => count.to_string(),
        };
        let message = format!(
            "the pools have {count} backends in all, those of the pools that each names and of its \
             backups included; there can be {MAX_COUNT}"
        );
        self.root.mistake_at(&format!("pool[{pool}]"), "pool", message)
    }
}
