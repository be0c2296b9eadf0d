//! The kernel's settings of an interface, as files below /proc/sys/net.
//!
//! They are written before the interface is set up, so that the kernel does nothing by another rule
//! first. A setting that cannot be written is a warning: the interface works without it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

/// Where the kernel has its settings, of this process's network namespace.
const ROOT: &str = "/proc/sys/net";

/// Settings of each interface, `@` in place of its name, and their values.
const SETTINGS: &[(&str, &str)] = &[
    // The node is no host that configures itself.
    ("ipv6/conf/@/accept_ra", "0"),
    ("ipv6/conf/@/autoconf", "0"),
    // Addresses stay while an operator sets the interface down and up, as those of IPv4 do.
    ("ipv6/conf/@/keep_addr_on_down", "1"),
    // Each interface answers for its own addresses, and asks with its own.
    ("ipv4/conf/@/arp_ignore", "1"),
    ("ipv4/conf/@/arp_announce", "2"),
    // Else the kernel ignores most ARP replies within a second of the last, announcements among them.
    ("ipv4/neigh/@/locktime", "0"),
    // A neighbour that nothing confirms is reachable for 0.75 to 2.25 s. Then two questions to its
    // MAC address, and one to everybody: see `NEIGHBOR_PROBES`.
    ("ipv4/neigh/@/base_reachable_time_ms", "1500"),
    ("ipv6/neigh/@/base_reachable_time_ms", "1500"),
    ("ipv4/neigh/@/delay_first_probe_time", "0"),
    ("ipv6/neigh/@/delay_first_probe_time", "0"),
    ("ipv4/neigh/@/retrans_time_ms", "250"),
    ("ipv6/neigh/@/retrans_time_ms", "250"),
    ("ipv4/neigh/@/ucast_solicit", "2"),
    ("ipv6/neigh/@/ucast_solicit", "2"),
    ("ipv4/neigh/@/mcast_resolicit", "3"),
    ("ipv6/neigh/@/mcast_resolicit", "3"),
];

/// How often the kernel begins to probe managed neighbours that are no longer confirmed. The kernel
/// reads only the value of `default`, which belongs to the host and exists in its first namespace
/// alone; nothing else uses it.
const NEIGHBOR_PROBES: &[(&str, &str)] = &[
    ("ipv4/neigh/default/interval_probe_time_ms", "1000"),
    ("ipv6/neigh/default/interval_probe_time_ms", "1000"),
];

/// Writes settings of the interface `name`, which is in place of `@`.
pub(crate) fn write_settings(name: &str, settings: &[(&str, &str)]) {
    for &(path, value) in settings {
        let file = Path::new(ROOT).join(path.replace('@', name));
        // A kernel without IPv6, or an MTU that is too small for it.
        if path.starts_with("ipv6") && !file.parent().is_some_and(Path::exists) {
            continue;
        }
        report(name, &file, value, write(&file, value));
    }
}

/// Lets packets in by the interface `name` of a port whose answer would leave by another interface, even if `all` is strict:
/// the kernel takes the greater value. Probes through tunnels leave by an interface of their own.
pub(crate) fn accept_asymmetric(name: &str) {
    write_settings(name, &[("ipv4/conf/@/rp_filter", "2")]);
}

/// Writes all settings of the interface `name` of a port. `has_v6` if the port has IPv6 addresses.
pub(super) fn write_all(name: &str, has_v6: bool) {
    let root = Path::new(ROOT);
    write_settings(name, SETTINGS);
    if has_v6 {
        let file = root.join(format!("ipv6/conf/{name}/disable_ipv6"));
        report(name, &file, "0", write(&file, "0"));
    }
    detect_duplicates_without_delay(name, root);
    for &(path, value) in NEIGHBOR_PROBES {
        let file = root.join(path);
        if file.exists() {
            report(name, &file, value, lower(&file, value));
        }
    }
    if let Some(warning) = strict_filter(name, root) {
        warn!("{warning}");
    }
}

/// Makes addresses usable while the kernel still looks for duplicates, or if the kernel cannot do
/// that, makes it not look.
fn detect_duplicates_without_delay(name: &str, root: &Path) {
    let conf = root.join("ipv6/conf").join(name);
    if !conf.exists() {
        return;
    }
    let optimistic = ["optimistic_dad", "use_optimistic"];
    let is_optimistic = optimistic.iter().all(|key| write(&conf.join(key), "1").is_ok());
    if !is_optimistic {
        for key in ["accept_dad", "dad_transmits"] {
            let file = conf.join(key);
            report(name, &file, "0", write(&file, "0"));
        }
    }
}

/// A warning if the kernel drops packets that came by another interface than their answer takes. It
/// uses the greater of the interface's value and that of `all`: 1 is strict, 2 is not.
fn strict_filter(name: &str, root: &Path) -> Option<String> {
    let value = |of: &str| {
        let text = fs::read_to_string(root.join(format!("ipv4/conf/{of}/rp_filter")));
        text.ok().and_then(|text| text.trim().parse::<u8>().ok()).unwrap_or(0)
    };
    let (own, all) = (value(name), value("all"));
    (own.max(all) == 1).then(|| {
        let of = if own == 1 { name } else { "all" };
        format!(
            "interface {name}: net.ipv4.conf.{of}.rp_filter is 1, strict: the kernel drops IPv4 \
             packets from {name} whose answer would leave by another interface; if routes are not \
             symmetric, run `sysctl -w net.ipv4.conf.{name}.rp_filter=2`"
        )
    })
}

/// A warning if the kernel takes the packets of a port from the device `behind` it too, as it does
/// where the port's driver reads a packet socket. Each packet to the node would have two answers.
pub(crate) fn double_receipt(port: &str, behind: &str) -> Option<String> {
    let root = Path::new(ROOT);
    let is = |path: &str, value: &str| {
        fs::read_to_string(root.join(path)).map_or(true, |text| text.trim() == value)
    };
    let filters = ["all", behind].map(|of| format!("ipv4/conf/{of}/rp_filter"));
    let is_strict =
        filters.iter().any(|path| is(path, "1")) && !filters.iter().any(|path| is(path, "2"));
    if is_strict && is(&format!("ipv6/conf/{behind}/disable_ipv6"), "1") {
        return None;
    }
    Some(format!(
        "port \"{port}\": the kernel takes packets from {behind} as well, and so gets each of the node's \
         twice; run `ip link set {behind} arp off` and `sysctl -w net.ipv4.conf.{behind}.rp_filter=1 \
         net.ipv6.conf.{behind}.disable_ipv6=1`, and give {behind} no address"
    ))
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    fs::write(file, value)
}

/// Writes a number if the file has a greater one.
fn lower(file: &Path, value: &str) -> io::Result<()> {
    let number = |text: &str| text.trim().parse::<u64>().unwrap_or(u64::MAX);
    if number(&fs::read_to_string(file)?) > number(value) { write(file, value) } else { Ok(()) }
}

fn report(name: &str, file: &Path, value: &str, result: io::Result<()>) {
    if let Err(error) = result {
        warn!("interface {name}: cannot set {} to {value}: {error}", sysctl(file));
    }
}

/// The name by which sysctl(8) knows a file.
fn sysctl(file: &Path) -> String {
    let path: PathBuf = file.strip_prefix("/proc/sys").unwrap_or(file).into();
    // A point in an interface's name is a slash for sysctl(8).
    path.iter().map(|part| part.to_string_lossy().replace('.', "/")).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_the_name_of_sysctl() {
        let name = |path: &str| sysctl(&Path::new(ROOT).join(path));
        assert_eq!(name("ipv4/conf/edge0/arp_ignore"), "net.ipv4.conf.edge0.arp_ignore");
        assert_eq!(name("ipv4/conf/edge0.2/arp_ignore"), "net.ipv4.conf.edge0/2.arp_ignore");
    }

    #[test]
    fn only_a_strict_filter_is_a_warning() {
        let root = tempfile::tempdir().unwrap();
        let warning = |own: &str, all: &str| {
            for (of, value) in [("edge0", own), ("all", all)] {
                let directory = root.path().join("ipv4/conf").join(of);
                fs::create_dir_all(&directory).unwrap();
                fs::write(directory.join("rp_filter"), value).unwrap();
            }
            strict_filter("edge0", root.path())
        };
        for (own, all) in [("0\n", "0\n"), ("2\n", "1\n"), ("1\n", "2\n")] {
            assert_eq!(warning(own, all), None);
        }
        assert!(warning("1\n", "0\n").unwrap().contains("conf.edge0.rp_filter is 1"));
        assert!(warning("0\n", "1\n").unwrap().contains("conf.all.rp_filter is 1"));
    }

    #[test]
    fn a_value_of_the_host_is_lowered_and_never_raised() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let after = |before: &str| {
            fs::write(file.path(), before).unwrap();
            lower(file.path(), "1000").unwrap();
            fs::read_to_string(file.path()).unwrap()
        };
        assert_eq!([after("5000\n"), after("500\n")], ["1000", "500\n"]);
    }
}
