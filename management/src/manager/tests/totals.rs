//! Totals of services, backends and pools, over reloads of every kind, against a plain model.

use std::net::IpAddr;

use super::*;
use crate::sample::{Random, choose_own};
use guideway_config::{Backend, Inclusion, Pool, Service};

const STEPS: usize = 3000;
const WORKERS: usize = 2;
/// More pools, backends and services than a configuration ever has.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A series of a backend: its pool, name and address.
type BackendSeries = (String, String, IpAddr);
/// A series of a service: its name and port; address and protocol are all the same.
type ServiceSeries = (String, u16);

/// A worker, and the tables that it forwards by. Each object has the number under which the model counts it.
struct Worker {
    writer: Writer,
    forwarded: Forwarded,
}

/// What may be forwarded by some tables.
#[derive(Clone, Default)]
struct Forwarded {
    generation: u64,
    /// The id and the number of each service.
    services: Vec<(usize, usize)>,
    /// The id and the number of each backend, and the number of its pool.
    backends: Vec<(usize, usize, usize)>,
}

/// What each object has forwarded. An object that is removed and added again has another number.
#[derive(Default)]
struct Model {
    packets: Vec<u64>,
    services: HashMap<u16, usize>,
    backends: HashMap<(String, IpAddr), usize>,
    pools: HashMap<String, usize>,
}

impl Model {
    /// The numbers of the objects with these keys. A key that was there before keeps its number.
    fn numbered<K: std::hash::Hash + Eq>(
        packets: &mut Vec<u64>,
        before: &mut HashMap<K, usize>,
        keys: impl Iterator<Item = K>,
    ) -> HashMap<K, usize> {
        let numbered = keys.map(|key| {
            let number = before.remove(&key).unwrap_or_else(|| {
                packets.push(0);
                packets.len() - 1
            });
            (key, number)
        });
        numbered.collect()
    }

    fn configure(&mut self, configuration: &Configuration) {
        let Model { packets, services, backends, pools } = self;
        let ports = configuration.services.iter().map(|service| service.port);
        *services = Model::numbered(packets, services, ports);
        let names = configuration.pools.iter().map(|pool| pool.name.clone());
        *pools = Model::numbered(packets, pools, names);
        let keys = configuration.pools.iter().flat_map(|pool| {
            pool.backends.iter().map(|backend| (pool.name.clone(), backend.address))
        });
        *backends = Model::numbered(packets, backends, keys);
    }

    fn forwarded(&self, published: &Published) -> Forwarded {
        let Published { configuration, ids, generation, .. } = published;
        let services = configuration.services.iter().zip(&ids.services);
        let pools = || configuration.pools.iter();
        Forwarded {
            generation: *generation,
            services: services.map(|(s, id)| (id.index(), self.services[&s.port])).collect(),
            backends: pools()
                .zip(&ids.backends)
                .flat_map(|(pool, ids)| pool.included.iter().zip(ids).map(move |b| (pool, b)))
                .map(|(pool, (inclusion, id))| {
                    let owner = &configuration.pools[inclusion.pool];
                    let key = (owner.name.clone(), owner.backends[inclusion.backend].address);
                    (id.index(), self.backends[&key], self.pools[&pool.name])
                })
                .collect(),
        }
    }
}

/// The names in any order.
fn shuffled(random: &mut Random) -> Vec<&'static str> {
    let mut names = NAMES.to_vec();
    for n in (1..names.len()).rev() {
        names.swap(n, random.below(n + 1));
    }
    names
}

/// Some of the names, in any order.
fn some(random: &mut Random) -> Vec<&'static str> {
    let mut names = shuffled(random);
    names.truncate(1 + random.below(NAMES.len()));
    names
}

/// Another configuration of few names and addresses, so that most are removed and added again and again.
fn another(random: &mut Random, like: &Configuration) -> Configuration {
    let backend = &like.pools[0].backends[0];
    let mut configuration = like.clone();
    // Mostly all pools, so that ids are assigned again while their pools are still there.
    let pools = if random.below(8) == 0 { some(random) } else { shuffled(random) };
    configuration.pools = pools
        .into_iter()
        .map(|pool| {
            let (names, addresses) = (some(random), some(random));
            let backends = names.into_iter().zip(addresses).map(|(name, address)| Backend {
                name: name.to_owned(),
                address: [192, 0, 2, 10 + address.as_bytes()[0]].into(),
                ..backend.clone()
            });
            Pool { name: pool.to_owned(), backends: backends.collect(), ..like.pools[0].clone() }
        })
        .collect();
    include(&mut configuration, random);
    let (names, ports) = (some(random), some(random));
    let services = names.into_iter().zip(ports).map(|(name, port)| Service {
        name: name.to_owned(),
        port: port.as_bytes()[0].into(),
        pool: random.below(configuration.pools.len()),
        ..like.services[0].clone()
    });
    configuration.services = services.collect();
    configuration
}

/// Lets pools choose from other pools, any.
fn include(configuration: &mut Configuration, random: &mut Random) {
    choose_own(configuration);
    for index in 0..configuration.pools.len() {
        for other in (0..configuration.pools.len()).filter(|&other| other != index) {
            if random.below(4) == 0 {
                let backends = 0..configuration.pools[other].backends.len();
                let level = random.below(2);
                let included = backends.map(|backend| Inclusion { pool: other, backend, level });
                let pool = &mut configuration.pools[index];
                pool.included.extend(included);
                pool.levels = vec![index, other];
            }
        }
    }
}

/// What a scrape shows: every series of services, backends and pools.
#[derive(Default)]
struct Scrape {
    services: HashMap<ServiceSeries, u64>,
    backends: HashMap<BackendSeries, u64>,
    pools: HashMap<String, u64>,
}

impl Scrape {
    fn of(tally: &Tally) -> Scrape {
        let configuration = &tally.published().configuration;
        let mut scrape = Scrape::default();
        for (n, service) in configuration.services.iter().enumerate() {
            let series = (service.name.clone(), service.port);
            scrape.services.insert(series, tally.service(n).packets);
        }
        for (n, pool) in configuration.pools.iter().enumerate() {
            scrape.pools.insert(pool.name.clone(), tally.pool(n).packets);
            for (m, backend) in pool.backends.iter().enumerate() {
                let series = (pool.name.clone(), backend.name.clone(), backend.address);
                scrape.backends.insert(series, tally.backend(n, m).packets);
            }
        }
        scrape
    }

    /// Checks that no series has a lower value than in an earlier scrape, of the same objects or of those before.
    fn follows(&self, earlier: &Scrape) {
        fn check<K: std::hash::Hash + Eq + std::fmt::Debug>(
            now: &HashMap<K, u64>,
            earlier: &HashMap<K, u64>,
        ) {
            for (series, value) in now {
                assert!(earlier.get(series).is_none_or(|earlier| earlier <= value), "{series:?}");
            }
        }
        check(&self.services, &earlier.services);
        check(&self.backends, &earlier.backends);
        check(&self.pools, &earlier.pools);
    }

    /// Forgets the series of objects that are no longer configured. What was renamed is still there.
    fn forget(&mut self, configuration: &Configuration) {
        let ports: HashSet<u16> = configuration.services.iter().map(|s| s.port).collect();
        self.services.retain(|(_, port), _| ports.contains(port));
        let pools: HashMap<&str, HashSet<IpAddr>> = configuration
            .pools
            .iter()
            .map(|pool| (&*pool.name, pool.backends.iter().map(|b| b.address).collect()))
            .collect();
        self.pools.retain(|pool, _| pools.contains_key(&**pool));
        self.backends.retain(|(pool, _, address), _| {
            pools.get(&**pool).is_some_and(|addresses| addresses.contains(address))
        });
    }
}

#[test]
fn totals_are_what_was_forwarded_and_never_go_back() {
    let (mut model, mut random, mut earlier) = (Model::default(), Random(3), Scrape::default());
    let first = another(&mut random, &guideway_config::parse(MIXED).unwrap().configuration);
    let mut manager = Manager::new(first.clone(), MIXED.to_owned(), ports()).unwrap();
    let (writers, readers): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| channel(512, 4096)).unzip();
    manager.workers = readers.clone();
    let mut workers: Vec<Worker> = writers
        .into_iter()
        .map(|writer| Worker { writer, forwarded: Forwarded::default() })
        .collect();
    model.configure(&first);
    let mut forwarded = model.forwarded(&manager.published().load());
    let (mut most_left, mut most_settled, mut most_of_backends) = (0, 0, 0);
    for _ in 0..STEPS {
        let worker = &mut workers[random.below(WORKERS)];
        match random.below(8) {
            0 => {
                // Mostly other pools choose from the same backends.
                let configuration = match random.below(4) {
                    0 => another(&mut random, &first),
                    _ => {
                        let mut configuration = (*manager.state().intent.configuration).clone();
                        include(&mut configuration, &mut random);
                        configuration
                    }
                };
                earlier.forget(&configuration);
                model.configure(&configuration);
                let progress = manager.progress();
                manager.configure(configuration, String::new(), progress).unwrap();
                forwarded = model.forwarded(&manager.published().load());
            }
            1 => _ = manager.change(&manager.state().clone()),
            // The worker takes the tables that are in force, or ends a sweep by the ones that it has.
            2 => {
                worker.forwarded = forwarded.clone();
                worker.writer.set(Gauge::Generation, worker.forwarded.generation);
            }
            3 => worker.writer.set(Gauge::SweptGeneration, worker.forwarded.generation),
            _ if worker.forwarded.services.is_empty() => {}
            _ => {
                let (service, service_number) = random.of(&worker.forwarded.services);
                let (backend, number, pool) = random.of(&worker.forwarded.backends);
                worker.writer.traffic().count(service, backend, 60);
                [service_number, number, pool].iter().for_each(|&n| model.packets[n] += 1);
            }
        }
        let tally = Tally::read(manager.published(), readers.iter());
        let scrape = Scrape::of(&tally);
        scrape.follows(&earlier);
        let expected = |number: usize| model.packets[number];
        for ((_, port), packets) in &scrape.services {
            assert_eq!(*packets, expected(model.services[port]));
        }
        for ((pool, _, address), packets) in &scrape.backends {
            assert_eq!(*packets, expected(model.backends[&(pool.clone(), *address)]));
        }
        for (pool, packets) in &scrape.pools {
            assert_eq!(*packets, expected(model.pools[pool]), "pool {pool}");
        }
        earlier.services.extend(scrape.services);
        earlier.backends.extend(scrape.backends);
        earlier.pools.extend(scrape.pools);
        for left in tally.published().left.values() {
            most_left = most_left.max(left.ids.len());
            most_settled = most_settled.max(left.rest.packets);
        }
        for left in tally.published().left_backends.values() {
            most_of_backends = most_of_backends.max(left.rest.packets);
        }
    }
    assert!(most_of_backends > 0, "pools chose backends no more that others still chose");
    assert!(most_left > 1, "ids were read after their backends had left");
    assert!(most_settled > 10, "ids were assigned again after their backends had left");
    let end = manager.published().load().ids.end;
    assert!(end < 512, "{end} ids for few backends");
}

/// Readings while ids change their owners at full speed: no pool's total ever falls, no packet counts twice.
#[test]
fn readings_under_reloads_never_go_back() {
    let first = guideway_config::parse(MIXED).unwrap().configuration;
    let mut manager = Manager::new(first.clone(), MIXED.to_owned(), ports()).unwrap();
    let (mut writer, reader) = channel(64, 4096);
    manager.workers = vec![reader.clone()];
    let (tables, published) = (Arc::clone(manager.tables()), Arc::clone(manager.published()));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let tables = tables.load();
                for id in 0..64 {
                    if tables
                        .backend(guideway_core::balancer::id::BackendId::new(id))
                        .route
                        .is_some()
                    {
                        writer.traffic().count(0, id as usize, 60);
                    }
                }
                writer.set(Gauge::Generation, tables.generation());
                writer.set(Gauge::SweptGeneration, tables.generation());
            }
        });
        let scraper = scope.spawn(|| {
            let (mut last, mut readings) = (HashMap::new(), 0_u64);
            while !is_over.load(Ordering::Relaxed) {
                let tally = Tally::read(&published, std::iter::once(&reader));
                for (n, pool) in tally.published().configuration.pools.iter().enumerate() {
                    let now = tally.pool(n).packets;
                    let before = last.insert(pool.name.clone(), now).unwrap_or(0);
                    assert!(before <= now && now < 1 << 40, "{before} {now}");
                }
                readings += 1;
            }
            readings
        });
        let mut random = Random(9);
        for _ in 0..500 {
            let mut configuration = first.clone();
            for pool in &mut configuration.pools {
                let (from, to) = (random.below(2), 1 + random.below(pool.backends.len()));
                pool.backends.rotate_left(from);
                pool.backends.truncate(to);
            }
            let progress = manager.progress();
            manager.configure(configuration, String::new(), progress).unwrap();
        }
        drop(_over);
        assert!(scraper.join().unwrap() > 10);
    });
}
