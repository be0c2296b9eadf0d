//! `[[pool]]` and `[[service]]`.

use std::collections::HashMap;
use std::net::IpAddr;

use guideway_api::Protocol;
use toml::de::DeValue;

use super::form;
use super::model::{Backend, FragmentPolicy, MssClamp, Pool, Service};
use super::reader::Section;
use super::report::{At, Read, excerpt};
use super::tunnel::{self, TunnelDraft};

/// Backends and services of all pools, and pools: indices of the packet path have 16 bits, and one
/// value means none.
const MAX_COUNT: usize = 65_535;

/// Small enough that the weights of all backends add up in 64 bits, large enough for a share in
/// parts per million.
const MAX_WEIGHT: i64 = 1_000_000;

/// What every IPv4 host must take (RFC 9293 section 3.7.1), and what fits the largest MTU of a port.
const MSS: std::ops::RangeInclusive<i64> = 536..=9216 - 40;

const PROTOCOLS: [(&str, Protocol); 2] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];

#[derive(Debug)]
pub(super) struct PoolDraft {
    pub(super) at: usize,
    pub(super) name: Read<At<String>>,
    distinct: Read<()>,
    pub(super) tunnel: TunnelDraft,
    pub(super) mss_clamp: Read<Option<At<MssClamp>>>,
    pub(super) backends: Read<Vec<BackendDraft>>,
}

#[derive(Debug)]
pub(super) struct BackendDraft {
    pub(super) at: usize,
    pub(super) name: Read<At<String>>,
    pub(super) address: Read<At<IpAddr>>,
    distinct: Read<()>,
    pub(super) weight: Read<At<u32>>,
    pub(super) enabled: Read<At<bool>>,
    pub(super) tunnel: TunnelDraft,
}

impl PoolDraft {
    pub(super) fn finish(self) -> Read<Pool> {
        self.distinct?;
        let tunnel = self.tunnel;
        let backends = self.backends?.into_iter().map(|backend| backend.finish(&tunnel));
        let backends = backends.collect::<Read<_>>()?;
        let mss_clamp = self.mss_clamp?.map(|clamp| clamp.value);
        Ok(Pool { name: self.name?.value, mss_clamp, backends })
    }
}

impl BackendDraft {
    fn finish(self, of_pool: &TunnelDraft) -> Read<Backend> {
        self.distinct?;
        Ok(Backend {
            name: self.name?.value,
            address: self.address?.value,
            weight: self.weight?.value,
            enabled: self.enabled?.value,
            encapsulations: self.tunnel.listed(of_pool)?,
            parameters: self.tunnel.parameters(of_pool)?,
        })
    }
}

pub(super) fn pools(root: &mut Section<'_>) -> Read<Vec<PoolDraft>> {
    let sections = root.tables("pool")?.map_or_else(Vec::new, |found| found.value);
    limit(root, "pool", "pools", sections.len(), sections.get(MAX_COUNT).map(|s| s.at))?;
    let mut names = HashMap::new();
    let mut backends = 0;
    let mut drafts = Vec::with_capacity(sections.len());
    for section in sections {
        let (key, at) = (section.key("backends"), section.at);
        let draft = pool(section, &mut names);
        let before = backends;
        backends += draft.backends.as_ref().map_or(0, Vec::len);
        if before <= MAX_COUNT && backends > MAX_COUNT {
            let message =
                format!("there are over {MAX_COUNT} backends up to here, the most there can be");
            return Err(root.report.mistake(at, key, message));
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

fn limit(
    root: &Section<'_>,
    key: &str,
    what: &str,
    number: usize,
    beyond: Option<usize>,
) -> Read<()> {
    match beyond {
        None => Ok(()),
        Some(at) => {
            let message = format!("there are {number} {what}; there can be {MAX_COUNT}");
            Err(root.mistake(at, key, message))
        }
    }
}

fn pool(mut section: Section<'_>, names: &mut HashMap<String, usize>) -> PoolDraft {
    let name = section.required("name", "\"web\"", form::text(form::name));
    let distinct = match &name {
        Ok(name) => section.unique("name", name, names),
        Err(_) => Ok(()),
    };
    let tunnel = tunnel::read(&mut section);
    let mss_clamp = section.optional("mss_clamp", mss_clamp);
    let mut backend_names = HashMap::new();
    let mut backend_addresses = HashMap::new();
    let backends = match section.tables("backends") {
        Ok(Some(sections)) => Ok(sections
            .value
            .into_iter()
            .map(|section| backend(section, &mut backend_names, &mut backend_addresses))
            .collect()),
        Ok(None) => Err(section.missing("backends", "[{ name = \"b1\", address = \"10.0.0.5\" }]")),
        Err(reported) => Err(reported),
    };
    let at = section.at;
    section.finish();
    PoolDraft { at, name, distinct, tunnel, mss_clamp, backends }
}

fn mss_clamp(value: &DeValue<'_>) -> Result<MssClamp, String> {
    let expected = |message| format!("{message}, or \"auto\"");
    match value {
        DeValue::String(said) if said == "auto" => Ok(MssClamp::Auto),
        value => form::integer(MSS)(value).map(MssClamp::To).map_err(expected),
    }
}

fn backend(
    mut section: Section<'_>,
    names: &mut HashMap<String, usize>,
    addresses: &mut HashMap<IpAddr, usize>,
) -> BackendDraft {
    let name = section.required("name", "\"b1\"", form::text(form::name));
    let address = section.required("address", "\"10.0.0.5\"", form::text(form::routable));
    let distinct_name = name.as_ref().map_or(Ok(()), |name| section.unique("name", name, names));
    let distinct_address =
        address.as_ref().map_or(Ok(()), |address| section.unique("address", address, addresses));
    let weight = section.or("weight", 1, form::integer::<u32>(0..=MAX_WEIGHT));
    let enabled = section.or("enabled", true, form::boolean);
    let tunnel = tunnel::read(&mut section);
    let at = section.at;
    section.finish();
    let distinct = distinct_name.and(distinct_address);
    BackendDraft { at, name, address, distinct, weight, enabled, tunnel }
}

#[derive(Debug)]
pub(super) struct ServiceDraft {
    name: Read<At<String>>,
    pub(super) address: Read<At<IpAddr>>,
    protocol: Read<At<Protocol>>,
    port: Read<At<u16>>,
    distinct: Read<()>,
    /// The index of the pool.
    pub(super) pool: Read<At<usize>>,
    echo: Read<At<bool>>,
    unreachable: Read<At<bool>>,
    fragments: Read<At<FragmentPolicy>>,
}

impl ServiceDraft {
    pub(super) fn finish(self) -> Read<Service> {
        self.distinct?;
        Ok(Service {
            name: self.name?.value,
            address: self.address?.value,
            protocol: self.protocol?.value,
            port: self.port?.value,
            pool: self.pool?.value,
            echo: self.echo?.value,
            unreachable: self.unreachable?.value,
            fragments: self.fragments?.value,
        })
    }
}

pub(super) fn services(
    root: &mut Section<'_>,
    pools: &Read<Vec<PoolDraft>>,
) -> Read<Vec<ServiceDraft>> {
    let sections = root.tables("service")?.map_or_else(Vec::new, |found| found.value);
    limit(root, "service", "services", sections.len(), sections.get(MAX_COUNT).map(|s| s.at))?;
    let pools = Pools::new(pools);
    let mut names = HashMap::new();
    let mut endpoints = HashMap::new();
    let service = |section| service(section, &pools, &mut names, &mut endpoints);
    Ok(sections.into_iter().map(service).collect())
}

/// The pools by name.
struct Pools<'a> {
    names: Vec<&'a str>,
    indices: HashMap<&'a str, usize>,
    /// Whether the names are all there are. If not, a name that is not found may be meant for one
    /// that was reported already.
    complete: Read<()>,
}

impl<'a> Pools<'a> {
    fn new(drafts: &'a Read<Vec<PoolDraft>>) -> Self {
        let (drafts, mut complete) = match drafts {
            Ok(drafts) => (drafts.as_slice(), Ok(())),
            Err(reported) => (&[][..], Err(*reported)),
        };
        let mut pools = Pools { names: Vec::new(), indices: HashMap::new(), complete: Ok(()) };
        for (index, draft) in drafts.iter().enumerate() {
            match &draft.name {
                Ok(name) => {
                    pools.names.push(&name.value);
                    pools.indices.entry(&name.value).or_insert(index);
                }
                Err(reported) => complete = Err(*reported),
            }
        }
        Pools { complete, ..pools }
    }
}

type ServiceAddress = (IpAddr, Protocol, u16);

fn service(
    mut section: Section<'_>,
    pools: &Pools<'_>,
    names: &mut HashMap<String, usize>,
    endpoints: &mut HashMap<ServiceAddress, usize>,
) -> ServiceDraft {
    let name = section.required("name", "\"web\"", form::text(form::name));
    let distinct_name = name.as_ref().map_or(Ok(()), |name| section.unique("name", name, names));
    let address = section.required("address", "\"203.0.113.10\"", form::text(form::routable));
    let protocol = section.required("protocol", "\"tcp\"", form::word(&PROTOCOLS));
    let port = section.required("port", "80", form::integer::<u16>(1..=65_535));
    let distinct_endpoint = match (&address, &protocol, &port) {
        (Ok(address), Ok(protocol), Ok(port)) => {
            match endpoints.insert((address.value, protocol.value, port.value), section.at) {
                None => Ok(()),
                Some(first) => {
                    let message = format!(
                        "the service on line {} has the same address, protocol and port; keep one, \
                         with one pool",
                        section.report.line(first)
                    );
                    Err(section.mistake(address.at, "address", message))
                }
            }
        }
        _ => Ok(()),
    };
    let pool = section.required("pool", "\"web\"", form::text(|said| Ok(said.to_owned())));
    let pool = pool.and_then(|pool| match pools.indices.get(pool.value.as_str()) {
        Some(&index) => Ok(At { value: index, at: pool.at }),
        None => {
            pools.complete?;
            let nearest = match section.report.nearest(&pool.value, &pools.names) {
                Some(nearest) => format!("; the nearest is {}", excerpt(nearest)),
                None => String::new(),
            };
            let message = format!("there is no pool {}{nearest}", excerpt(&pool.value));
            Err(section.mistake(pool.at, "pool", message))
        }
    });
    let echo = section.or("echo", true, form::boolean);
    let unreachable = section.or("unreachable", false, form::boolean);
    let fragments =
        section.or("fragments", FragmentPolicy::default(), form::word(FragmentPolicy::NAMES));
    section.finish();
    ServiceDraft {
        name,
        address,
        protocol,
        port,
        distinct: distinct_name.and(distinct_endpoint),
        pool,
        echo,
        unreachable,
        fragments,
    }
}
