//! Random configurations: what the interpreter knows of them, and their text.
//!
//! A pool, a backend and a service are numbers of a small universe, so that each of them goes and comes back.

use std::fmt::Write;

pub(crate) const POOLS: usize = 6;
pub(crate) const BACKENDS: u8 = 4;
pub(crate) const SERVICES: usize = 6;

/// Idle timeouts in seconds, short enough to pass often.
pub(crate) mod timeout {
    pub(crate) const SYN: u64 = 5;
    pub(crate) const ESTABLISHED: u64 = 40;
    pub(crate) const HALF_CLOSED: u64 = 20;
    pub(crate) const CLOSING: u64 = 8;
    pub(crate) const UNCONFIRMED: u64 = 6;
    pub(crate) const UDP: u64 = 15;
    pub(crate) const REUSE: u64 = 7;
}

/// Numbers without a pattern, the same in each run: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ z >> 31) % end as u64).unwrap()
    }

    /// One of these.
    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Whether something happens that does so once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    /// In the file's order.
    pub(crate) pools: Vec<Pool>,
    pub(crate) services: Vec<Service>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) number: usize,
    pub(crate) backends: Vec<Backend>,
    /// The pools that it names.
    pub(crate) named: Vec<usize>,
    pub(crate) backup: Option<usize>,
    pub(crate) min_active: usize,
    /// In seconds.
    pub(crate) backup_hold: u64,
    pub(crate) on_empty: &'static str,
    pub(crate) choice: &'static str,
    /// In seconds.
    pub(crate) slow_start: Option<u64>,
    pub(crate) curve: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) number: u8,
    pub(crate) weight: u32,
    pub(crate) is_enabled: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) number: usize,
    pub(crate) pool: usize,
    pub(crate) on_down: Option<&'static str>,
    /// In seconds.
    pub(crate) keep_for: Option<u64>,
    /// In seconds.
    pub(crate) drain_timeout: Option<u64>,
    pub(crate) drain_then: Option<&'static str>,
}

pub(crate) fn is_tcp(service: usize) -> bool {
    service.is_multiple_of(2)
}

pub(crate) fn service_address(service: usize) -> ([u8; 4], u16) {
    let last = u8::try_from(10 + service / 2).unwrap();
    ([203, 0, 113, last], if is_tcp(service) { 80 } else { 53 })
}

pub(crate) fn pool_name(pool: usize) -> String {
    format!("p{pool}")
}

pub(crate) fn backend_address(pool: usize, backend: u8) -> [u8; 4] {
    [10, 0, u8::try_from(pool).unwrap(), backend]
}

impl World {
    pub(crate) fn random(random: &mut Random) -> World {
        let mut pools: Vec<Pool> = Vec::new();
        // A pool names pools of higher numbers only, so that there are no cycles.
        for number in (0..POOLS).rev() {
            if !random.once_in(6) {
                let others: Vec<usize> = pools.iter().map(|pool| pool.number).collect();
                pools.push(Pool::random(number, &others, random));
            }
        }
        if pools.is_empty() {
            pools.push(Pool::random(0, &[], random));
        }
        let mut world = World { pools, services: Vec::new() };
        world.drop_own_backups();
        world.shuffle(random);
        for number in 0..SERVICES {
            if !random.once_in(12) {
                world.services.push(Service::random(number, &world, random));
            }
        }
        if world.services.is_empty() {
            world.services.push(Service::random(0, &world, random));
        }
        world
    }

    /// A pool whose backends are a pool's own cannot stand in for them.
    fn drop_own_backups(&mut self) {
        for index in 0..self.pools.len() {
            let family = self.family(self.pools[index].number);
            let pool = &mut self.pools[index];
            pool.backup = pool.backup.filter(|backup| !family.contains(backup));
        }
    }

    /// The pools whose backends are a pool's.
    pub(crate) fn family(&self, pool: usize) -> Vec<usize> {
        let mut family = vec![pool];
        let mut next = 0;
        while let Some(&number) = family.get(next) {
            for &named in &self.pool(number).unwrap().named {
                if !family.contains(&named) {
                    family.push(named);
                }
            }
            next += 1;
        }
        family
    }

    fn shuffle(&mut self, random: &mut Random) {
        for n in (1..self.pools.len()).rev() {
            self.pools.swap(n, random.below(n + 1));
        }
    }

    /// Another configuration that has much in common with this one.
    pub(crate) fn changed(&self, random: &mut Random) -> World {
        let mut world = self.clone();
        for _ in 0..=random.below(3) {
            world.change(random);
        }
        // What is gone can be named no more.
        let left: Vec<usize> = world.pools.iter().map(|pool| pool.number).collect();
        for pool in &mut world.pools {
            pool.named.retain(|named| left.contains(named));
            pool.backup = pool.backup.filter(|backup| left.contains(backup));
        }
        world.drop_own_backups();
        for service in &mut world.services {
            if !left.contains(&service.pool) {
                service.pool = random.of(&left);
            }
        }
        world
    }

    fn change(&mut self, random: &mut Random) {
        let index = random.below(self.pools.len());
        let others = |world: &World, number| -> Vec<usize> {
            world.pools.iter().map(|pool| pool.number).filter(|&other| other > number).collect()
        };
        match random.below(12) {
            0..5 => self.pools[index].change_backends(random),
            5 if self.pools.len() > 1 => {
                self.pools.remove(index);
            }
            6 => {
                let number = random.below(POOLS);
                if self.pools.iter().all(|pool| pool.number != number) {
                    let pool = Pool::random(number, &others(self, number), random);
                    self.pools.insert(index, pool);
                }
            }
            7 => {
                let number = self.pools[index].number;
                let others = others(self, number);
                let backends = std::mem::take(&mut self.pools[index].backends);
                self.pools[index] = Pool { backends, ..Pool::random(number, &others, random) };
            }
            8 => self.shuffle(random),
            9 if self.services.len() > 4 => {
                self.services.remove(random.below(self.services.len()));
            }
            10 => {
                let number = random.below(SERVICES);
                self.services.retain(|service| service.number != number);
                self.services.push(Service::random(number, self, random));
            }
            _ => {
                let service = random.below(self.services.len());
                self.services[service].pool = self.pools[index].number;
            }
        }
    }

    pub(crate) fn pool(&self, number: usize) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.number == number)
    }

    pub(crate) fn service(&self, number: usize) -> Option<&Service> {
        self.services.iter().find(|service| service.number == number)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            r#"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = 2503
[dpdk]
workers = [0]
[icmp]
rate = 1000000
burst = 1000000
[flow.timeout]
syn = {}
established = {}
half_closed = {}
closing = {}
unconfirmed = {}
udp = {}
reuse = {}
[[port]]
name = "edge0"
device = "net_null0"
addresses = ["192.0.2.1/24"]
gateways = ["192.0.2.254"]
[[neighbor]]
address = "192.0.2.254"
mac = "02:00:00:00:00:fe"
"#,
            timeout::SYN,
            timeout::ESTABLISHED,
            timeout::HALF_CLOSED,
            timeout::CLOSING,
            timeout::UNCONFIRMED,
            timeout::UDP,
            timeout::REUSE
        );
        for pool in &self.pools {
            pool.write(&mut text);
        }
        for service in &self.services {
            service.write(&mut text);
        }
        text
    }
}

impl Pool {
    fn random(number: usize, others: &[usize], random: &mut Random) -> Pool {
        let mut named = others.to_vec();
        named.retain(|_| random.once_in(4));
        let backup = (!others.is_empty() && random.once_in(2)).then(|| random.of(others));
        let mut pool = Pool {
            number,
            backends: Vec::new(),
            named,
            backup,
            min_active: 1 + random.below(3),
            backup_hold: random.of(&[0, 1, 4, 9]),
            on_empty: random.of(&["drop", "reset", "all"]),
            choice: random.of(&["maglev", "maglev", "source-hash"]),
            slow_start: random.of(&[None, Some(2), Some(5), Some(13)]),
            curve: random.of(&["linear", "quadratic"]),
        };
        for number in 1..=BACKENDS {
            if !random.once_in(3) {
                pool.backends.push(Backend::random(number, random));
            }
        }
        pool
    }

    /// Adds, removes or changes one.
    fn change_backends(&mut self, random: &mut Random) {
        let number = 1 + u8::try_from(random.below(BACKENDS.into())).unwrap();
        let place = self.backends.iter().position(|backend| backend.number == number);
        match place {
            Some(place) if random.once_in(2) => {
                self.backends.remove(place);
            }
            Some(place) => self.backends[place] = Backend::random(number, random),
            None => {
                let place = random.below(self.backends.len() + 1);
                self.backends.insert(place, Backend::random(number, random));
            }
        }
    }

    fn write(&self, text: &mut String) {
        let names = |pools: &[usize]| {
            let names: Vec<String> =
                pools.iter().map(|&pool| format!("{:?}", pool_name(pool))).collect();
            names.join(", ")
        };
        write!(
            text,
            "[[pool]]\nname = {:?}\npools = [{}]\nmin_active = {}\non_empty = {:?}\n\
             choice = {:?}\n",
            pool_name(self.number),
            names(&self.named),
            self.min_active,
            self.on_empty,
            self.choice
        )
        .unwrap();
        if let Some(backup) = self.backup {
            writeln!(text, "backup = {:?}", pool_name(backup)).unwrap();
            writeln!(text, "backup_hold = {}", self.backup_hold).unwrap();
        }
        if let Some(seconds) = self.slow_start {
            writeln!(text, "slow_start = {seconds}\nslow_start_curve = {:?}", self.curve).unwrap();
        }
        let backends = self.backends.iter().map(|backend| {
            let [a, b, c, d] = backend_address(self.number, backend.number);
            format!(
                "{{ name = \"b{}\", address = \"{a}.{b}.{c}.{d}\", weight = {}, enabled = {} }}",
                backend.number, backend.weight, backend.is_enabled
            )
        });
        let backends: Vec<String> = backends.collect();
        writeln!(text, "backends = [{}]", backends.join(", ")).unwrap();
    }
}

impl Backend {
    fn random(number: u8, random: &mut Random) -> Backend {
        Backend { number, weight: random.of(&[0, 1, 1, 2, 5, 100]), is_enabled: !random.once_in(6) }
    }
}

impl Service {
    fn random(number: usize, world: &World, random: &mut Random) -> Service {
        let on_down = random.of(&[None, Some("move"), Some("keep")]);
        let drain_timeout = random.of(&[None, Some(1), Some(2), Some(5), Some(12)]);
        let keeps = on_down == Some("keep") || (on_down.is_none() && is_tcp(number));
        let ends = drain_timeout.is_some() || !is_tcp(number);
        let then = random.of(&[
            None,
            Some("move"),
            Some("reset"),
            Some("reset"),
            Some("reset"),
            Some("keep"),
        ]);
        Service {
            number,
            pool: world.pools[random.below(world.pools.len())].number,
            on_down,
            keep_for: random.of(&[None, Some(1), Some(4), Some(15)]).filter(|_| keeps),
            drain_timeout,
            drain_then: then.filter(|_| ends),
        }
    }

    fn write(&self, text: &mut String) {
        let ([a, b, c, d], port) = service_address(self.number);
        let protocol = if is_tcp(self.number) { "tcp" } else { "udp" };
        write!(
            text,
            "[[service]]\nname = \"s{}\"\naddress = \"{a}.{b}.{c}.{d}\"\nprotocol = {protocol:?}\nport = {port}\n\
             pool = {:?}\n",
            self.number,
            pool_name(self.pool)
        )
        .unwrap();
        for (key, value) in [("on_down", self.on_down), ("drain_then", self.drain_then)] {
            if let Some(value) = value {
                writeln!(text, "{key} = {value:?}").unwrap();
            }
        }
        for (key, value) in [("keep_for", self.keep_for), ("drain_timeout", self.drain_timeout)] {
            if let Some(value) = value {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
    }
}
