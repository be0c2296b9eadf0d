//! `[node]`, `[hash]`, `[dpdk]`, `[flow]`, `[icmp]` and `[control]`: one section each.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::eal;
use super::findings::{Checked, Located};
use super::model::{Control, Dpdk, Flow, Hash, Icmp, Idle, Node, Prefix, Timeouts};
use super::section::Section;
use super::value;

/// A prime just above 2^16: with it up to 655 backends of a pool differ by under 1 percent.
const DEFAULT_TABLE_SIZE: u32 = 65_537;

/// The largest prime below 2^24, which keeps a table at tens of MiB.
const MAX_TABLE_SIZE: u32 = 16_777_213;

const DEFAULT_MEMORY_MIB: u32 = 512;

/// Tens of GiB of packets: more is a slip.
const MAX_BUFFERS: i64 = 1 << 24;

/// `RTE_MAX_LCORE` of a stock DPDK, less the main thread.
const MAX_WORKERS: usize = 127;

/// CPU numbers that a CPU set of the kernel's customary size can hold.
const MAX_CPU: i64 = 1023;

const DEFAULT_ENTRIES: usize = 1 << 20;

const MAX_ENTRIES: i64 = 1 << 28;

/// Answers per second of one worker: more than a million is no limit.
const MAX_ANSWERS: i64 = 1_000_000;

const DEFAULT_SOCKET: &str = "/run/guideway/guideway.sock";

/// What `sockaddr_un.sun_path` holds besides its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// The shortest prefix of tunnel sources: more than 65536 addresses tell no more flows apart.
const SHORTEST_SOURCE: u8 = 16;

#[derive(Debug)]
pub(super) struct NodeDraft {
    name: Checked<Located<String>>,
    pub(super) sources: Checked<Sources>,
    /// Where the sources are said, or should be.
    pub(super) sources_at: usize,
}

/// The outer source addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sources {
    /// The first address of a prefix,
    pub(super) v4: Option<Ipv4Addr>,
    /// and how many bits below the first vary: 0 is one address.
    pub(super) v4_host_bits: u8,
    pub(super) v6: Option<Ipv6Addr>,
}

impl Sources {
    /// Whether this is one of them.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4 == Some(v4),
            IpAddr::V6(v6) => self.v6 == Some(v6),
        }
    }

    /// Whether there is one of the family of this address.
    pub(super) fn has_family(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4.is_some(),
            IpAddr::V6(_) => self.v6.is_some(),
        }
    }
}

impl NodeDraft {
    pub(super) fn finish(self) -> Checked<Node> {
        let sources = self.sources?;
        Ok(Node {
            name: self.name?.value,
            tunnel_source_v4: sources.v4,
            tunnel_source_v4_length: 32 - sources.v4_host_bits,
            tunnel_source_v6: sources.v6,
        })
    }
}

pub(super) fn node(mut section: Section<'_>) -> NodeDraft {
    const KEY: &str = "tunnel_source";
    let name = section.required("name", "\"lb1\"", value::text(value::identifier));
    let list = section.list(KEY, "[\"192.0.2.1\"]", value::text(source));
    let sources_at = match &list {
        Ok(Some(list)) => list.first().map_or(section.at, |first| first.at),
        _ => section.at,
    };
    let sources = list.and_then(|list| {
        let mut sources = Ok(Sources::default());
        for (index, &Located { value, at }) in list.iter().flatten().enumerate() {
            let mut found = sources.unwrap_or_default();
            let (family, taken) = match value.address {
                IpAddr::V4(v4) => {
                    found.v4_host_bits = 32 - value.length;
                    ("IPv4", found.v4.replace(v4).is_some())
                }
                IpAddr::V6(v6) => ("IPv6", found.v6.replace(v6).is_some()),
            };
            if taken {
                let message = format!("is a second {family} address; one per family is used");
                sources = Err(section.mistake_in(KEY, index, at, message));
            } else {
                sources = sources.map(|_| found);
            }
        }
        sources
    });
    section.finish();
    NodeDraft { name, sources, sources_at }
}

/// An address, or an IPv4 prefix from which flows choose one.
fn source(said: &str) -> Result<Prefix, String> {
    if !said.contains('/') {
        let address = value::routable(said)?;
        return Ok(Prefix { address, length: if address.is_ipv4() { 32 } else { 128 } });
    }
    let prefix = value::prefix(said)?;
    if prefix.address.is_ipv6() {
        return Err("over IPv6 the flow label tells flows apart; expected one address, without a \
                    prefix length"
            .to_owned());
    }
    if prefix.length < SHORTEST_SOURCE {
        return Err(format!(
            "expected a prefix length from {SHORTEST_SOURCE} to 32 after the slash"
        ));
    }
    if prefix.network() != prefix.address {
        return Err(format!(
            "it has bits set behind its prefix; {}/{} is the prefix that it lies in",
            prefix.network(),
            prefix.length
        ));
    }
    Ok(prefix)
}

#[derive(Debug)]
pub(super) struct HashDraft {
    pub(super) key: Checked<Located<[u8; 16]>>,
    pub(super) table_size: Checked<Located<u32>>,
}

impl HashDraft {
    pub(super) fn finish(self) -> Checked<Hash> {
        Ok(Hash { key: self.key?.value, table_size: self.table_size?.value })
    }
}

pub(super) fn hash(mut section: Section<'_>) -> HashDraft {
    let key =
        section.required("key", "\"...\", with the output of `openssl rand -hex 16`", value::key);
    let size = section.or(
        "table_size",
        DEFAULT_TABLE_SIZE,
        value::integer::<u32>(2..=i64::from(MAX_TABLE_SIZE)),
    );
    let table_size = size.and_then(|size| match nearest_primes(size.value) {
        None => Ok(size),
        Some((below, above)) => {
            let message =
                format!("is {}, not a prime; the nearest are {below} and {above}", size.value);
            Err(section.mistake(size.at, "table_size", message))
        }
    });
    section.finish();
    HashDraft { key, table_size }
}

/// The primes next to a number that is none; none for a prime.
fn nearest_primes(number: u32) -> Option<(u32, u32)> {
    if is_prime(number) {
        return None;
    }
    let below = (2..number).rev().find(|&n| is_prime(n)).unwrap_or(2);
    Some((below, prime_at_least(number)))
}

/// The smallest prime that is not below `number`.
pub(super) fn prime_at_least(number: u32) -> u32 {
    (number..=u32::MAX).find(|&n| is_prime(n)).unwrap_or(u32::MAX)
}

fn is_prime(number: u32) -> bool {
    let divides = |divisor: &u32| number.is_multiple_of(*divisor);
    number >= 2
        && (2..=number.isqrt().min(3)).all(|divisor| !divides(&divisor))
        && !(5..=number.isqrt()).step_by(2).any(|divisor| divides(&divisor))
}

/// Whether a Maglev table may have this many slots at all.
pub(super) fn is_table_size(size: u32) -> bool {
    size <= MAX_TABLE_SIZE
}

pub(super) fn dpdk(mut section: Section<'_>) -> Checked<Dpdk> {
    let workers = workers(&mut section);
    let hugepages = section.or("hugepages", true, value::boolean);
    // Below 64 MiB no pool of packets fits; above 1 TiB is a slip.
    let memory = section.or("memory", DEFAULT_MEMORY_MIB, value::integer(64..=1 << 20));
    let buffers = section.or("buffers", 0, value::integer(0..=MAX_BUFFERS));
    const IDLE: [(&str, Idle); 3] =
        [("poll", Idle::Poll), ("pause", Idle::Pause), ("interrupt", Idle::Interrupt)];
    let idle = section.or("idle", Idle::default(), value::word(&IDLE));
    let arguments =
        section.list("eal_args", "[\"--log-level=lib.eal:debug\"]", value::text(eal::argument));
    section.finish();
    Ok(Dpdk {
        workers: workers?,
        hugepages: hugepages?.value,
        memory_mib: memory?.value,
        buffers: buffers?.value,
        idle: idle?.value,
        eal_args: arguments?.into_iter().flatten().map(|argument| argument.value).collect(),
    })
}

fn workers(section: &mut Section<'_>) -> Checked<Vec<u16>> {
    const KEY: &str = "workers";
    const EXAMPLE: &str = "[1, 2]";
    let Some(list) = section.list(KEY, EXAMPLE, value::integer::<u16>(0..=MAX_CPU))? else {
        return Err(section.missing(KEY, EXAMPLE));
    };
    let Some(first) = list.first() else {
        let message = "is empty; name the CPU of at least one worker, for example [1]";
        return Err(section.mistake(section.at, KEY, message));
    };
    let mut result = Ok(());
    if list.len() > MAX_WORKERS {
        let message = format!("names {} CPUs; DPDK runs {MAX_WORKERS} workers at most", list.len());
        result = Err(section.mistake(first.at, KEY, message));
    }
    let mut seen = HashMap::new();
    for (index, cpu) in list.iter().enumerate() {
        if seen.insert(cpu.value, index).is_some() {
            let message = format!("is CPU {} again; each worker needs its own", cpu.value);
            result = Err(section.mistake_in(KEY, index, cpu.at, message));
        }
    }
    result.map(|()| list.iter().map(|cpu| cpu.value).collect())
}

pub(super) fn flow(mut section: Section<'_>) -> Checked<Flow> {
    let entries =
        section.or("entries", DEFAULT_ENTRIES, value::power_of_two::<usize>(4..=MAX_ENTRIES));
    let mut table = section.table("timeout", false);
    section.finish();
    let defaults = Timeouts::default();
    let mut timeout = |key, default: Duration| {
        let seconds = table.optional(key, value::integer::<u32>(1..=86_400));
        seconds.map(|given| given.map_or(default, |s| Duration::from_secs(s.value.into())))
    };
    let syn = timeout("syn", defaults.syn);
    let established = timeout("established", defaults.established);
    let half_closed = timeout("half_closed", defaults.half_closed);
    let closing = timeout("closing", defaults.closing);
    let unconfirmed = timeout("unconfirmed", defaults.unconfirmed);
    let udp = timeout("udp", defaults.udp);
    let reuse = timeout("reuse", defaults.reuse);
    table.finish();
    Ok(Flow {
        entries: entries?.value,
        timeouts: Timeouts {
            syn: syn?,
            established: established?,
            half_closed: half_closed?,
            closing: closing?,
            unconfirmed: unconfirmed?,
            udp: udp?,
            reuse: reuse?,
        },
    })
}

pub(super) fn icmp(mut section: Section<'_>) -> Checked<Icmp> {
    let defaults = Icmp::default();
    let rate = section.or("rate", defaults.rate, value::integer::<u32>(0..=MAX_ANSWERS));
    let burst = section.or("burst", defaults.burst, value::integer::<u32>(1..=MAX_ANSWERS));
    section.finish();
    Ok(Icmp { rate: rate?.value, burst: burst?.value })
}

pub(super) fn control(mut section: Section<'_>) -> Checked<Control> {
    let socket = section.or("socket", PathBuf::from(DEFAULT_SOCKET), value::text(socket));
    if let Ok(socket) = &socket
        && socket.value.is_relative()
    {
        let message = "is relative to the directory in which guideway is started; an absolute \
                       path is found by guidewayctl from anywhere";
        section.warn(socket.at, "socket", message);
    }
    let group = section.optional("group", value::text(group));
    section.finish();
    Ok(Control { socket: socket?.value, group: group?.map(|group| group.value) })
}

fn socket(said: &str) -> Result<PathBuf, String> {
    if said.is_empty() || said.chars().any(char::is_control) {
        return Err(format!("expected a path like {DEFAULT_SOCKET}"));
    }
    if said.len() > MAX_SOCKET_PATH {
        let length = said.len();
        return Err(format!(
            "it has {length} bytes, and the path of a unix socket {MAX_SOCKET_PATH} at most"
        ));
    }
    Ok(PathBuf::from(said))
}

/// The name of a group of this machine. A directory service may have names with spaces.
fn group(said: &str) -> Result<String, String> {
    let forbidden = |c: char| c.is_control() || c == ':';
    if (1..=255).contains(&said.len()) && !said.chars().any(forbidden) {
        Ok(said.to_owned())
    } else {
        Err("expected the name of a group, 1 to 255 bytes without colons and control characters"
            .to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes() {
        let primes: Vec<u32> = (0..40).filter(|&n| is_prime(n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]);
        let known = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 65537, 131071, 524287];
        for prime in known {
            assert_eq!(nearest_primes(prime), None, "{prime}");
        }
        assert!(is_prime(MAX_TABLE_SIZE) && is_prime(DEFAULT_TABLE_SIZE));
        assert_eq!(nearest_primes(65536), Some((65521, 65537)));
        assert_eq!(nearest_primes(4), Some((3, 5)));
        // 4093 squared: its only divisor is the last that is tried.
        assert!(!is_prime(4093 * 4093));
    }
}
