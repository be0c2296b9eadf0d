//! What on the node keeps the answers to probes from their sockets.
//!
//! An answer to a probe through a tunnel comes from the virtual address to a check source, by a port's interface. The kernel's
//! reverse path filter (RFC 3704) asks by what way the node would send to the virtual address. That way is the interface of
//! probes and not the port, so the strict filter drops the answer without a word. Of an interface's own value and that of
//! `all`, the larger one holds: 0 none, 1 strict, 2 loose. IPv6 has no such filter.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where the kernel has the settings of the calling thread's network namespace.
const SETTINGS: &str = "/proc/sys/net/ipv4/conf";
/// The value of the strict filter.
const STRICT: u32 = 1;

/// The interfaces, of these, that drop answers to probes of IPv4 by a strict filter, each with a sentence that says
/// what to do. An interface that there is not drops nothing.
pub fn strict_filters(interfaces: &[String]) -> BTreeMap<String, String> {
    let all = value("all").unwrap_or(0);
    let is_strict =
        |interface: &&String| value(interface).is_some_and(|own| own.max(all) == STRICT);
    let strict = interfaces.iter().filter(is_strict);
    strict.map(|interface| (interface.clone(), sentence(interface))).collect()
}

fn sentence(interface: &str) -> String {
    // Its name may have points, which sysctl takes for slashes unless there is a slash first.
    format!(
        "{interface}: the strict reverse path filter drops answers to probes; set it to loose: \
         sysctl -w net/ipv4/conf/{interface}/rp_filter=2"
    )
}

/// The value of an interface's filter; none if there is no such interface.
fn value(interface: &str) -> Option<u32> {
    // Such a name would be another path.
    if interface.is_empty() || interface.contains('/') || interface.starts_with("..") {
        return None;
    }
    let path = Path::new(SETTINGS).join(interface).join("rp_filter");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_interfaces_are_none() {
        let names = ["", "/", "..", "../conf/lo", ".", "no-such-one", "lo/../lo"];
        assert_eq!(strict_filters(&names.map(str::to_owned)), BTreeMap::new());
    }

    #[test]
    fn a_sentence_names_the_setting() {
        assert_eq!(
            sentence("edge0.7"),
            "edge0.7: the strict reverse path filter drops answers to probes; set it to loose: \
             sysctl -w net/ipv4/conf/edge0.7/rp_filter=2"
        );
    }
}
