//! What two configurations differ in, in a few words, for the audit trail.

use std::collections::HashMap;
use std::hash::Hash;

use guideway_config::{Configuration, Pool, Service};

/// The differences: what was added, removed and changed. Empty if no value differs.
pub(super) fn differences(before: &Configuration, after: &Configuration) -> String {
    let mut found = Vec::new();
    compare("service", services(before), services(after), &mut found);
    compare("pool", pools(before), pools(after), &mut found);
    compare("backend", backends(before), backends(after), &mut found);
    let ports = |c: &'_ Configuration| -> HashMap<String, _> {
        c.ports.iter().map(|port| (port.name.clone(), port.clone())).collect()
    };
    compare("port", ports(before), ports(after), &mut found);
    let neighbors = |c: &'_ Configuration| -> HashMap<_, _> {
        c.neighbors.iter().map(|neighbor| (neighbor.address, *neighbor)).collect()
    };
    compare("neighbor", neighbors(before), neighbors(after), &mut found);
    let checks = |c: &'_ Configuration| -> HashMap<String, _> {
        c.checks.iter().map(|check| (check.name.clone(), check.clone())).collect()
    };
    compare("check", checks(before), checks(after), &mut found);
    let sections = [
        ("node", before.node != after.node),
        ("hash", before.hash != after.hash),
        ("dpdk", before.dpdk != after.dpdk),
        ("flow", before.flow != after.flow),
        ("icmp", before.icmp != after.icmp),
        ("punt", before.punt != after.punt),
        ("control", before.control != after.control),
        ("metrics", before.metrics != after.metrics),
        ("log", before.log != after.log),
        ("cluster", before.cluster != after.cluster),
        ("tunnel", before.tunnel != after.tunnel),
        ("fragments", before.fragments != after.fragments),
        ("probe", before.probe != after.probe),
    ];
    let changed = sections.iter().filter(|(_, differs)| *differs);
    found.extend(changed.map(|(name, _)| format!("[{name}] changed")));
    found.join(", ")
}

/// The services by what clients know them by. The numbers of pools and checks may differ where their names do not.
fn services(of: &Configuration) -> HashMap<impl Hash + Eq + use<>, impl PartialEq + use<'_>> {
    let service = |service: &Service| {
        let pool = of.pools[service.pool].name.as_str();
        let unnumbered = Service { pool: 0, checks: Vec::new(), ..service.clone() };
        (service.service_address(), (unnumbered, pool, names_of_checks(of, &service.checks)))
    };
    of.services.iter().map(service).collect()
}

fn names_of_checks<'a>(of: &'a Configuration, checks: &[usize]) -> Vec<&'a str> {
    checks.iter().map(|&check| of.checks[check].name.as_str()).collect()
}

/// The pools without their backends, and with the names of the pools and checks that they name.
fn pools(of: &Configuration) -> HashMap<&str, impl PartialEq + use<'_>> {
    let pool = |pool: &Pool| {
        let name = |&index: &usize| of.pools[index].name.as_str();
        let named: Vec<&str> = pool.pools.iter().map(name).collect();
        let backup = pool.levels.get(1).map(name);
        let choosing = (pool.mss_clamp, pool.choice, pool.on_empty);
        let serving = (pool.min_active, pool.backup_hold, pool.slow_start, pool.slow_start_curve);
        let checking = (names_of_checks(of, &pool.checks), pool.panic_threshold);
        (named, backup, choosing, serving, checking)
    };
    of.pools.iter().map(|of| (of.name.as_str(), pool(of))).collect()
}

fn backends(of: &Configuration) -> HashMap<impl Hash + Eq + use<'_>, impl PartialEq + use<'_>> {
    let backends = of.pools.iter().flat_map(|pool| {
        let pool_name = pool.name.as_str();
        pool.backends.iter().map(move |backend| ((pool_name, backend.address), backend))
    });
    backends.collect()
}

/// Says how many were added, removed and changed, if any were.
fn compare<K: Hash + Eq, V: PartialEq>(
    noun: &str,
    before: HashMap<K, V>,
    after: HashMap<K, V>,
    found: &mut Vec<String>,
) {
    let added = after.keys().filter(|key| !before.contains_key(key)).count();
    let removed = before.keys().filter(|key| !after.contains_key(key)).count();
    let differs = |(key, value): &(&K, &V)| after.get(key).is_some_and(|now| now != *value);
    let changed = before.iter().filter(differs).count();
    for (count, verb) in [(added, "added"), (removed, "removed"), (changed, "changed")] {
        let plural = if count == 1 { "" } else { "s" };
        if count > 0 {
            found.push(format!("{count} {noun}{plural} {verb}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{THREE, text};

    fn parsed(text: &str) -> Configuration {
        guideway_config::parse(text).unwrap().configuration
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let before = text(THREE);
        let said = |after: &str| differences(&parsed(&before), &parsed(after));
        assert_eq!(said(&before), "");
        assert_eq!(said(&format!("# a comment\n{before}")), "");
        assert_eq!(said(&text(&THREE[..1])), "2 backends removed");
        assert_eq!(
            said(&before.replace("port = 80", "port = 81")),
            "1 service added, 1 service removed"
        );
        let log = format!("{before}\n[log]\nlevel = \"warn\"\n");
        assert_eq!(said(&log), "[log] changed");
        let more = [THREE, &[("new", 77, "")]].concat();
        assert_eq!(said(&text(&more)), "1 backend added");
        assert_eq!(
            differences(&parsed(&text(&more)), &parsed(&log)),
            "1 backend removed, [log] changed"
        );
        assert_eq!(said(&text(&[("other", 10, ""), THREE[1], THREE[2]])), "1 backend changed");
        // Every key of a pool counts, once, and other pools by their names only.
        let other = "[[pool]]\nname = \"other\"\nbackends = []\n[[pool]]";
        let two = |keys: &str| {
            let pool = format!("{other}\n{keys}\nname");
            parsed(&before.replacen("[[pool]]\nname", &pool, 1))
        };
        for keys in [
            "mss_clamp = 1400",
            "choice = \"source-hash\"",
            "pools = [\"other\"]",
            "backup = \"other\"",
            "min_active = 2",
            "on_empty = \"all\"",
            "slow_start = 5",
            "panic_threshold = 51",
        ] {
            assert_eq!(differences(&two(""), &two(keys)), "1 pool changed", "{keys}");
        }
        assert_eq!(differences(&two("pools = []"), &parsed(&before)), "1 pool removed");
    }

    /// By their names, whatever their places in the file are.
    #[test]
    fn checks_are_compared_by_name() {
        let check = |name: &str, more: &str| {
            format!("[[check]]\nname = \"{name}\"\nkind = \"tcp\"\nvia = \"direct\"\n{more}")
        };
        let checks = |pool: &str, service: &str, sections: &[String]| {
            let pool = format!("[[pool]]\nchecks = {pool}\nname");
            let service = format!("[[service]]\nchecks = {service}\nname");
            let text = text(THREE).replacen("[[pool]]\nname", &pool, 1);
            parsed(&(text.replacen("[[service]]\nname", &service, 1) + &sections.concat()))
        };
        let (a, b) = (check("a", ""), check("b", ""));
        let before = checks("[\"a\"]", "[\"b\"]", &[a.clone(), b.clone()]);
        let said = |after: &Configuration| differences(&before, after);
        assert_eq!(said(&checks("[\"a\"]", "[\"b\"]", &[b.clone(), a.clone()])), "");
        let one = std::slice::from_ref(&a);
        assert_eq!(said(&checks("[\"a\"]", "[]", one)), "1 service changed, 1 check removed");
        let both = [a, b.clone()];
        assert_eq!(said(&checks("[\"b\"]", "[\"b\"]", &both)), "1 pool changed");
        let changed = [check("a", "rise = 9\n"), b];
        assert_eq!(said(&checks("[\"a\"]", "[\"b\"]", &changed)), "1 check changed");
        let probe = [&changed[..], &["[probe]\ntable = 7\n".to_owned()]].concat();
        let after = checks("[\"a\"]", "[\"b\"]", &probe);
        assert_eq!(said(&after), "1 check changed, [probe] changed");
    }
}
