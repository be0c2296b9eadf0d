//! Random reloads under traffic, against a model that knows no ids: what each service, backend and pool has
//! forwarded since it was added.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Page;
use super::rig::{Rig, SAMPLE};
use crate::sample::Random;

const RELOADS: usize = 100;

/// A configuration of the model.
#[derive(Clone, Debug)]
struct Model {
    /// By address, the last byte: name, pool.
    services: BTreeMap<usize, (String, String)>,
    /// By name: the names of its backends by address, the last byte.
    pools: BTreeMap<String, BTreeMap<usize, String>>,
}

/// What was forwarded.
#[derive(Default)]
struct Totals {
    services: BTreeMap<usize, u64>,
    backends: BTreeMap<(String, usize), u64>,
    pools: BTreeMap<String, u64>,
}

impl Model {
    fn random(random: &mut Random) -> Model {
        let mut pools = BTreeMap::new();
        for name in ["red", "green", "blue"] {
            // The first is always there, for services to have a pool.
            if name == "red" || random.below(3) > 0 {
                let mut backends = BTreeMap::new();
                let count = 1 + random.below(4);
                for n in 0..count {
                    // Two pools often have one address, and backends change their names.
                    backends.insert(
                        10 + random.below(6),
                        format!("b{}", (n + random.below(2) * count) % 8),
                    );
                }
                let mut names: Vec<_> = backends.values().cloned().collect();
                names.sort();
                names.dedup();
                if names.len() == backends.len() {
                    pools.insert(name.to_owned(), backends);
                } else {
                    backends.values_mut().enumerate().for_each(|(n, name)| *name = format!("b{n}"));
                    pools.insert(name.to_owned(), backends);
                }
            }
        }
        let pool_names: Vec<&String> = pools.keys().collect();
        let mut names = vec!["web", "dns", "api", "mail"];
        let mut services = BTreeMap::new();
        for address in 1..=4 {
            if address == 1 || random.below(3) > 0 {
                // Services swap their names.
                let name = names.remove(random.below(names.len()));
                let pool = pool_names[random.below(pool_names.len())];
                services.insert(address, (name.to_owned(), pool.clone()));
            }
        }
        Model { services, pools }
    }

    /// The text, with its parts in any order.
    fn text(&self, random: &mut Random) -> String {
        let (head, _) = SAMPLE.split_once("[[pool]]").unwrap();
        let mut text = head.to_owned();
        let mut pools: Vec<_> = self.pools.iter().collect();
        shuffle(&mut pools, random);
        for (name, backends) in pools {
            let _ = writeln!(text, "[[pool]]\nname = \"{name}\"\nbackends = [");
            let mut backends: Vec<_> = backends.iter().collect();
            shuffle(&mut backends, random);
            for (address, name) in backends {
                let weight = random.below(3);
                let _ = writeln!(
                    text,
                    "{{ name = \"{name}\", address = \"192.0.2.{address}\", weight = {weight} }},"
                );
            }
            text.push_str("]\n");
        }
        let mut services: Vec<_> = self.services.iter().collect();
        shuffle(&mut services, random);
        for (address, (name, pool)) in services {
            let _ = writeln!(
                text,
                "[[service]]\nname = \"{name}\"\naddress = \"203.0.113.{address}\"\nprotocol = \"tcp\"\nport = 80\npool = \"{pool}\""
            );
        }
        text
    }
}

fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for n in (1..items.len()).rev() {
        items.swap(n, random.below(n + 1));
    }
}

impl Totals {
    /// What is configured no longer is forgotten, and begins at 0 if it comes again.
    fn configure(&mut self, model: &Model) {
        self.services.retain(|address, _| model.services.contains_key(address));
        self.pools.retain(|pool, _| model.pools.contains_key(pool));
        self.backends.retain(|(pool, address), _| {
            model.pools.get(pool).is_some_and(|backends| backends.contains_key(address))
        });
    }

    /// The page has these numbers, and no other.
    fn check(&self, model: &Model, page: &Page) {
        let services = page.samples("guideway_service_packets_total");
        assert_eq!(services.len(), model.services.len());
        for (address, (name, _)) in &model.services {
            let labels = [
                ("service", name.as_str()),
                ("address", &format!("203.0.113.{address}")),
                ("protocol", "tcp"),
                ("port", "80"),
            ];
            let expected = self.services.get(address).copied().unwrap_or(0);
            assert_eq!(page.value("guideway_service_packets_total", &labels), expected as f64);
            assert_eq!(
                page.value("guideway_service_bytes_total", &labels),
                (expected * 100) as f64
            );
        }
        let backends = page.samples("guideway_backend_packets_total");
        assert_eq!(backends.len(), model.pools.values().map(BTreeMap::len).sum::<usize>());
        for (pool, members) in &model.pools {
            for (address, name) in members {
                let labels = [
                    ("pool", pool.as_str()),
                    ("backend", name.as_str()),
                    ("address", &format!("192.0.2.{address}")),
                ];
                let expected = self.backends.get(&(pool.clone(), *address)).copied().unwrap_or(0);
                assert_eq!(page.value("guideway_backend_packets_total", &labels), expected as f64);
            }
            let expected = self.pools.get(pool).copied().unwrap_or(0);
            let shown = page.value("guideway_pool_packets_total", &[("pool", pool)]);
            assert_eq!(shown, expected as f64, "pool {pool}");
        }
    }
}

#[test]
fn no_counter_goes_back_and_no_series_is_there_twice() {
    let mut random = Random(13);
    let mut model = Model::random(&mut random);
    let rig = Rig::new(&model.text(&mut random));
    let mut totals = Totals::default();
    let mut before: BTreeMap<String, f64> = BTreeMap::new();
    let mut falls = 0;
    for _ in 0..RELOADS {
        for _ in 0..random.below(6) {
            let published = rig.published();
            let configuration = &published.configuration;
            let index = random.below(configuration.services.len());
            let service = &configuration.services[index];
            let pool = &configuration.pools[service.pool];
            let n = random.below(pool.backends.len());
            let packets = 1 + random.below(20) as u64;
            let backend = published.ids.backends[service.pool][n].index();
            let id = published.ids.services[index].0 as usize;
            rig.count(random.below(2), id, backend, packets);
            let last = |address: &std::net::IpAddr| -> usize {
                address.to_string().rsplit('.').next().unwrap().parse().unwrap()
            };
            *totals.services.entry(last(&service.address)).or_default() += packets;
            let backend = (pool.name.clone(), last(&pool.backends[n].address));
            *totals.backends.entry(backend).or_default() += packets;
            *totals.pools.entry(pool.name.clone()).or_default() += packets;
        }
        let page = rig.parsed();
        totals.check(&model, &page);
        // A series that was on the page before, and whose owner was not removed, has not fallen.
        let now: BTreeMap<_, _> =
            page.counters().map(|sample| (sample.series(), sample.value)).collect();
        for (series, value) in &now {
            falls += usize::from(before.get(series).is_some_and(|before| value < before));
        }
        assert_eq!(falls, 0);
        before = now;

        let next = Model::random(&mut random);
        rig.apply(&next.text(&mut random));
        totals.configure(&next);
        model = next;
        let now = rig.parsed();
        totals.check(&model, &now);
        // What a reload removed is gone from the page, so what is on both pages has not fallen either.
        for sample in now.counters() {
            let fell = before.get(&sample.series()).is_some_and(|&before| sample.value < before);
            assert!(!fell, "{sample:?}, before {:?}", before[&sample.series()]);
        }
        before = now.counters().map(|sample| (sample.series(), sample.value)).collect();
    }
}
