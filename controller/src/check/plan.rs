//! From the configuration to what is probed.
//!
//! A pool's check is of the pool's own backends. It goes to the first service of the file that can choose from the
//! pool, of the check's protocol if there is one. A service's check is of all backends that the service can choose,
//! those of included pools and of backups too, and goes to that service. The check may say another address or port.
//!
//! A backend that is disabled is probed as well: its state is known when it is enabled again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use guideway_config::{
    Backend, Check, CheckKind, Configuration, Encapsulation, Inclusion, Protocol, Service, Via,
};

use super::target::{Member, Path, Plan, PoolPlan, Target, TargetKey, To};

impl Plan {
    /// What a configuration has to be probed.
    pub fn of(configuration: &Configuration) -> Plan {
        let mut planner = Planner::new(configuration);
        planner.add_all();
        planner.finish()
    }
}

/// A backend: the index of its pool, and its index there.
type Indices = (usize, usize);

/// Where the probes of a check go, unless to the backend itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Destination {
    /// Also for direct probes.
    address: Option<IpAddr>,
    /// The address of the service, for probes through a tunnel.
    virtual_address: Option<IpAddr>,
    /// None for a ping.
    port: Option<u16>,
}

/// A check of some backends. Many services may ask for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Use {
    check: usize,
    pool: usize,
    /// Whether it is of all that the pool can choose, and not of its own backends alone.
    is_of_all: bool,
    destination: Destination,
}

struct Planner<'a> {
    configuration: &'a Configuration,
    checks: Vec<(Arc<str>, Arc<Check>)>,
    targets: BTreeMap<TargetKey, (Arc<Check>, BTreeSet<Indices>)>,
    uses: HashSet<Use>,
    /// The ways through tunnels, each text once.
    tunnels: HashMap<String, Arc<str>>,
}

impl<'a> Planner<'a> {
    fn new(configuration: &'a Configuration) -> Self {
        let checks = configuration.checks.iter();
        let checks = checks.map(|check| ((&*check.name).into(), Arc::new(check.clone())));
        Planner {
            configuration,
            checks: checks.collect(),
            targets: BTreeMap::new(),
            uses: HashSet::new(),
            tunnels: HashMap::new(),
        }
    }

    fn add_all(&mut self) {
        let Configuration { pools, services, .. } = self.configuration;
        let first = self.configuration.first_services();
        for (index, pool) in pools.iter().enumerate() {
            for &check in &pool.checks {
                let protocol = protocol(&self.checks[check].1.kind);
                let service = first.of(index, protocol).map(|service| &services[service]);
                self.add(check, index, false, service);
            }
        }
        for service in services {
            for &check in &service.checks {
                self.add(check, service.pool, true, Some(service));
            }
        }
    }

    fn add(&mut self, index: usize, pool: usize, is_of_all: bool, service: Option<&Service>) {
        let check = &self.checks[index].1;
        let port = match protocol(&check.kind) {
            None => None,
            Some(_) => match check.port.or(service.map(|service| service.port)) {
                Some(port) => Some(port),
                // Nobody says where to, which is a mistake of the configuration.
                None => return,
            },
        };
        let goes_there = check.address.is_none() && check.via != Some(Via::Direct);
        let destination = Destination {
            address: check.address,
            virtual_address: service.filter(|_| goes_there).map(|service| service.address),
            port,
        };
        if !self.uses.insert(Use { check: index, pool, is_of_all, destination }) {
            return;
        }
        let of = &self.configuration.pools[pool];
        if is_of_all {
            for Inclusion { pool, backend, .. } in of.choosable(pool) {
                self.add_backend(index, (pool, backend), destination);
            }
        } else {
            for backend in 0..of.backends.len() {
                self.add_backend(index, (pool, backend), destination);
            }
        }
    }

    fn add_backend(&mut self, check: usize, member: Indices, destination: Destination) {
        let backend = &self.configuration.pools[member.0].backends[member.1];
        let (name, check) = &self.checks[check];
        let (ip, path) = match check.via_to(backend) {
            Via::Direct => (Some(backend.address), Path::Direct),
            Via::Tunnel => {
                let text = tunnel(backend);
                let tunnel = self.tunnels.entry(text).or_insert_with_key(|text| (&**text).into());
                (destination.virtual_address, Path::Tunnel(tunnel.clone()))
            }
        };
        let Some(ip) = destination.address.or(ip) else {
            return;
        };
        let to = match destination.port {
            Some(port) => To::Port(SocketAddr::new(ip, port)),
            None => To::Host(ip),
        };
        let key = TargetKey { check: name.clone(), address: backend.address, to, path };
        let target = self.targets.entry(key).or_insert_with(|| (check.clone(), BTreeSet::new()));
        target.1.insert(member);
    }

    /// Indices become names.
    fn finish(self) -> Plan {
        let pools = &self.configuration.pools;
        let mut checked: BTreeMap<usize, BTreeMap<usize, Arc<str>>> = BTreeMap::new();
        for &(pool, backend) in self.targets.values().flat_map(|(_, members)| members) {
            let backends = checked.entry(pool).or_default();
            backends
                .entry(backend)
                .or_insert_with(|| (&*pools[pool].backends[backend].name).into());
        }
        let names: BTreeMap<usize, Arc<str>> =
            checked.keys().map(|&pool| (pool, (&*pools[pool].name).into())).collect();
        let member = |(pool, backend): Indices| Member {
            pool: names[&pool].clone(),
            backend: checked[&pool][&backend].clone(),
        };
        let targets = self.targets.into_iter().map(|(key, (check, members))| {
            let members = members.into_iter().map(member).collect();
            (key, Target { check, members })
        });
        let targets = targets.collect();
        let pools = checked.iter().map(|(pool, backends)| {
            let backends = backends.values().cloned().collect();
            let panic_threshold = pools[*pool].panic_threshold;
            (names[pool].clone(), PoolPlan { backends, panic_threshold })
        });
        Plan { targets, pools: pools.collect() }
    }
}

/// The transport protocol of a check; none for a ping.
fn protocol(kind: &CheckKind) -> Option<Protocol> {
    match kind {
        CheckKind::Tcp(_) | CheckKind::Tls(_) | CheckKind::Http(_) => Some(Protocol::Tcp),
        CheckKind::Udp(_) => Some(Protocol::Udp),
        CheckKind::Ping => None,
    }
}

/// What tells tunnels to one address apart.
fn tunnel(backend: &Backend) -> String {
    let name = |listed: &Encapsulation| {
        let mut names = Encapsulation::NAMES.iter();
        names.find(|(_, other)| other == listed).map_or("", |(name, _)| name)
    };
    let names: Vec<_> = backend.encapsulations.iter().map(name).collect();
    format!("{} {:?}", names.join(" "), backend.parameters)
}

#[cfg(test)]
mod tests {
    use guideway_config::parse;

    use super::*;

    const BASE: &str = r#"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1", "2001:db8::1"]
check_source = ["198.51.100.1", "2001:db8:c::1"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
[dpdk]
workers = [1]
[[port]]
name = "edge0"
device = "0000:3b:00.0"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
gateways = ["192.0.2.254", "2001:db8::fe"]
"#;

    fn plan(text: &str) -> Plan {
        let text = format!("{BASE}{text}");
        Plan::of(&parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}")).configuration)
    }

    /// Each target in words: its check, its address, where it goes and how, and its members.
    fn words(plan: &Plan) -> Vec<String> {
        let targets = plan.targets.iter().map(|(key, target)| {
            assert_eq!(*key.check, *target.check.name);
            let way = match &key.path {
                Path::Direct => "direct",
                Path::Tunnel(text) => text.split(" Parameters").next().unwrap(),
            };
            let members = target.members.iter();
            let members: Vec<_> =
                members.map(|member| format!("{}/{}", member.pool, member.backend)).collect();
            format!("{} {} {} {way}: {}", key.check, key.address, key.to, members.join(" "))
        });
        targets.collect()
    }

    fn pools(plan: &Plan) -> Vec<String> {
        let pools = plan.pools.iter();
        let words = |(name, pool): (&Arc<str>, &PoolPlan)| {
            format!("{name} {} of {}", pool.panic_threshold, pool.backends.join(" "))
        };
        pools.map(words).collect()
    }

    fn pool(name: &str, keys: &str, backends: &[(&str, &str)]) -> String {
        let backends = backends.iter();
        let backends = backends
            .map(|(name, address)| format!("{{ name = \"{name}\", address = \"{address}\" }}"));
        let backends: Vec<_> = backends.collect();
        format!("[[pool]]\nname = \"{name}\"\n{keys}\nbackends = [{}]\n", backends.join(", "))
    }

    fn service(
        name: &str,
        address: &str,
        protocol: &str,
        port: u16,
        pool: &str,
        keys: &str,
    ) -> String {
        format!(
            "[[service]]\nname = \"{name}\"\naddress = \"{address}\"\nprotocol = \"{protocol}\"\n\
             port = {port}\npool = \"{pool}\"\n{keys}\n"
        )
    }

    fn check(name: &str, kind: &str, keys: &str) -> String {
        format!("[[check]]\nname = \"{name}\"\nkind = \"{kind}\"\n{keys}\n")
    }

    #[test]
    fn three_pools_share_a_server() {
        let checks = "checks = [\"web\"]";
        let text = pool("a", checks, &[("one", "10.0.0.1"), ("two", "10.0.0.2")])
            + &pool("b", checks, &[("x", "10.0.0.1")])
            + &pool("c", checks, &[("y", "10.0.0.1")])
            + &service("a", "203.0.113.1", "tcp", 80, "a", "")
            + &service("b", "203.0.113.2", "tcp", 81, "b", "")
            + &service("c", "203.0.113.2", "tcp", 82, "c", "");
        // Each pool has a service of its own, so that each target goes elsewhere.
        let apart = plan(&(text.clone() + &check("web", "http", "")));
        assert_eq!(apart.targets.len(), 4);
        for keys in ["address = \"203.0.113.9\"\nport = 8080", "via = \"direct\"\nport = 8080"] {
            let shared = plan(&(text.clone() + &check("web", "http", keys)));
            let found = words(&shared);
            assert_eq!(found.len(), 2, "{found:?}");
            assert!(
                found[0].ends_with(": a/one b/x c/y") && found[1].ends_with(": a/two"),
                "{found:?}"
            );
            assert_eq!(pools(&shared), ["a 50 of one two", "b 50 of x", "c 50 of y"]);
        }
        // Another tunnel is another way.
        let text = text.replace("[[pool]]\nname = \"b\"", "[[pool]]\nname = \"b\"\ngre_key = 7");
        let text = text
            .replace("[[pool]]\nname = \"c\"", "[[pool]]\nname = \"c\"\nencapsulation = \"ipip\"");
        let keys = "address = \"203.0.113.9\"\nport = 8080";
        let apart = words(&plan(&(text.clone() + &check("web", "tcp", keys))));
        assert_eq!(
            apart,
            [
                "web 10.0.0.1 203.0.113.9:8080 gre: a/one",
                "web 10.0.0.1 203.0.113.9:8080 gre: b/x",
                "web 10.0.0.1 203.0.113.9:8080 ipip: c/y",
                "web 10.0.0.2 203.0.113.9:8080 gre: a/two",
            ]
        );
        // Which does not matter to direct probes.
        let direct = plan(&(text + &check("web", "tcp", "via = \"direct\"\nport = 8080")));
        assert_eq!(direct.targets.len(), 2);
    }

    #[test]
    fn probes_go_to_the_first_service_of_their_protocol() {
        let text = pool("a", "checks = [\"web\", \"dns\", \"host\"]", &[("one", "10.0.0.1")])
            + &service("s1", "203.0.113.1", "udp", 53, "a", "")
            + &service("s2", "203.0.113.2", "tcp", 80, "a", "")
            + &service("s3", "203.0.113.3", "tcp", 81, "a", "checks = [\"web\", \"other\"]")
            + &check("web", "tcp", "")
            + &check("dns", "udp", "")
            + &check("host", "ping", "")
            + &check("other", "ping", "via = \"direct\"");
        assert_eq!(
            words(&plan(&text)),
            [
                "dns 10.0.0.1 203.0.113.1:53 gre: a/one",
                "host 10.0.0.1 203.0.113.1 gre: a/one",
                "other 10.0.0.1 10.0.0.1 direct: a/one",
                "web 10.0.0.1 203.0.113.2:80 gre: a/one",
                "web 10.0.0.1 203.0.113.3:81 gre: a/one",
            ]
        );
        // Without one of its protocol, to the first of any.
        let text = pool("a", "checks = [\"web\"]", &[("one", "10.0.0.1")])
            + &service("s1", "203.0.113.1", "udp", 53, "a", "")
            + &check("web", "http", "");
        assert_eq!(words(&plan(&text)), ["web 10.0.0.1 203.0.113.1:53 gre: a/one"]);
        // Named by the pool and by the service, it is one.
        let text = pool("a", "checks = [\"web\"]", &[("one", "10.0.0.1")])
            + &service("s1", "203.0.113.1", "tcp", 80, "a", "checks = [\"web\"]")
            + &check("web", "http", "");
        assert_eq!(words(&plan(&text)), ["web 10.0.0.1 203.0.113.1:80 gre: a/one"]);
    }

    #[test]
    fn addresses_and_ports_may_be_others() {
        for (keys, expected) in [
            ("port = 8080", "203.0.113.1:8080 gre"),
            ("address = \"203.0.113.7\"", "203.0.113.7:80 gre"),
            ("address = \"203.0.113.7\"\nport = 1", "203.0.113.7:1 gre"),
            ("via = \"direct\"", "10.0.0.1:80 direct"),
            ("via = \"direct\"\nport = 8080", "10.0.0.1:8080 direct"),
            ("via = \"direct\"\naddress = \"10.9.9.9\"", "10.9.9.9:80 direct"),
            ("via = \"tunnel\"", "203.0.113.1:80 gre"),
        ] {
            let text = pool("a", "checks = [\"web\"]", &[("one", "10.0.0.1")])
                + &service("s", "203.0.113.1", "tcp", 80, "a", "")
                + &check("web", "http", keys);
            assert_eq!(words(&plan(&text)), [format!("web 10.0.0.1 {expected}: a/one")], "{keys}");
        }
        // Over IPv6, inside and outside.
        let text = pool("a", "checks = [\"web\"]", &[("one", "2001:db8:b::1")])
            + &service("s", "2001:db8:5::1", "tcp", 80, "a", "")
            + &check("web", "http", "");
        assert_eq!(words(&plan(&text)), ["web 2001:db8:b::1 [2001:db8:5::1]:80 gre: a/one"]);
    }

    #[test]
    fn backends_without_a_tunnel_are_probed_directly() {
        let l2 = "checks = [\"web\"]\nencapsulation = \"l2\"";
        let text = pool("a", l2, &[("one", "192.0.2.5")])
            + &pool("b", "checks = [\"web\"]", &[("two", "192.0.2.6")])
            + &service("a", "203.0.113.1", "tcp", 80, "a", "")
            + &service("b", "203.0.113.2", "tcp", 81, "b", "")
            + &check("web", "http", "");
        assert_eq!(
            words(&plan(&text)),
            ["web 192.0.2.5 192.0.2.5:80 direct: a/one", "web 192.0.2.6 203.0.113.2:81 gre: b/two",]
        );
    }

    #[test]
    fn a_services_checks_are_of_all_that_it_can_choose() {
        let text = pool(
            "a",
            "checks = [\"own\"]\nbackup = \"c\"\npools = [\"b\"]",
            &[("one", "10.0.0.1")],
        ) + &pool("b", "", &[("two", "10.0.0.2")])
            + &pool("c", "", &[("three", "10.0.0.3")])
            + &pool("d", "", &[("four", "10.0.0.4")])
            + &service("s", "203.0.113.1", "tcp", 80, "a", "checks = [\"web\"]")
            + &service("t", "203.0.113.1", "tcp", 81, "d", "")
            + &check("web", "tcp", "")
            + &check("own", "tcp", "");
        let plan = plan(&text);
        assert_eq!(
            words(&plan),
            [
                "own 10.0.0.1 203.0.113.1:80 gre: a/one",
                "web 10.0.0.1 203.0.113.1:80 gre: a/one",
                "web 10.0.0.2 203.0.113.1:80 gre: b/two",
                "web 10.0.0.3 203.0.113.1:80 gre: c/three",
            ]
        );
        // A pool with a backup never panics unless the file says so, and one without checks is none of ours.
        assert_eq!(pools(&plan), ["a 100 of one", "b 50 of two", "c 50 of three"]);
    }

    #[test]
    fn a_pools_checks_go_by_the_services_of_pools_that_include_it() {
        let text = pool("a", "backup = \"c\"", &[("one", "10.0.0.1")])
            + &pool("c", "checks = [\"web\"]", &[("three", "10.0.0.3")])
            + &service("s", "203.0.113.1", "tcp", 80, "a", "")
            + &check("web", "tcp", "");
        assert_eq!(words(&plan(&text)), ["web 10.0.0.3 203.0.113.1:80 gre: c/three"]);
        assert!(plan("").targets.is_empty());
    }

    #[test]
    fn members_are_in_the_files_order() {
        // Named backwards, and the second pool's check comes first.
        let text = pool("z", "", &[("z", "10.0.0.1")])
            + &pool("a", "checks = [\"web\"]", &[("a", "10.0.0.1")])
            + &service("s", "203.0.113.1", "tcp", 80, "z", "checks = [\"web\"]")
            + &service("t", "203.0.113.1", "tcp", 81, "a", "")
            + &check("web", "tcp", "port = 8080");
        assert_eq!(words(&plan(&text)), ["web 10.0.0.1 203.0.113.1:8080 gre: z/z a/a"]);
    }
}
