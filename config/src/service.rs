//! `[[service]]`: a virtual address, protocol and port.

use std::collections::HashMap;
use std::net::IpAddr;

use super::findings::{Checked, Located, excerpt};
use super::model::{FragmentPolicy, Protocol, Service, service_address};
use super::pool::{MAX_COUNT, PoolDraft, limit};
use super::section::Section;
use super::value;
use guideway_core::balancer::services::ServiceAddress;

#[derive(Debug)]
pub(super) struct ServiceDraft {
    name: Checked<Located<String>>,
    pub(super) address: Checked<Located<IpAddr>>,
    protocol: Checked<Located<Protocol>>,
    port: Checked<Located<u16>>,
    distinct: Checked<()>,
    /// The index of the pool.
    pub(super) pool: Checked<Located<usize>>,
    echo: Checked<Located<bool>>,
    unreachable: Checked<Located<bool>>,
    fragments: Checked<Located<FragmentPolicy>>,
}

impl ServiceDraft {
    pub(super) fn finish(self) -> Checked<Service> {
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

pub(super) fn read(
    root: &mut Section<'_>,
    pools: &Checked<Vec<PoolDraft>>,
) -> Checked<Vec<ServiceDraft>> {
    let sections = root.tables("service")?.map_or_else(Vec::new, |found| found.value);
    limit(root, "service", "services", sections.len(), sections.get(MAX_COUNT).map(|s| s.at))?;
    let pools = Pools::new(pools);
    let mut names = HashMap::new();
    let mut service_addresses = HashMap::new();
    let service = |section| service(section, &pools, &mut names, &mut service_addresses);
    Ok(sections.into_iter().map(service).collect())
}

/// The pools by name.
struct Pools<'a> {
    names: Vec<&'a str>,
    indices: HashMap<&'a str, usize>,
    /// `Err` if the name of a pool is unknown because of a mistake. A service may refer to that pool, so
    /// a name that is not found is no mistake of its own then.
    complete: Checked<()>,
}

impl<'a> Pools<'a> {
    fn new(drafts: &'a Checked<Vec<PoolDraft>>) -> Self {
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

fn service(
    mut section: Section<'_>,
    pools: &Pools<'_>,
    names: &mut HashMap<String, usize>,
    service_addresses: &mut HashMap<ServiceAddress, usize>,
) -> ServiceDraft {
    let name = section.required("name", "\"web\"", value::text(value::name));
    let distinct_name = name.as_ref().map_or(Ok(()), |name| section.unique("name", name, names));
    let address = section.required("address", "\"203.0.113.10\"", value::text(value::routable));
    let protocol = section.required("protocol", "\"tcp\"", value::word(Protocol::NAMES));
    let port = section.required("port", "80", value::integer::<u16>(1..=65_535));
    let distinct_address = match (&address, &protocol, &port) {
        (Ok(address), Ok(protocol), Ok(port)) => {
            match service_addresses
                .insert(service_address(address.value, protocol.value, port.value), section.at)
            {
                None => Ok(()),
                Some(first) => {
                    let message = format!(
                        "the service on line {} has the same address, protocol and port; keep one, \
                         with one pool",
                        section.findings.line(first)
                    );
                    Err(section.mistake(address.at, "address", message))
                }
            }
        }
        _ => Ok(()),
    };
    let pool = section.required("pool", "\"web\"", value::text(|text| Ok(text.to_owned())));
    let pool = pool.and_then(|pool| match pools.indices.get(pool.value.as_str()) {
        Some(&index) => Ok(Located { value: index, at: pool.at }),
        None => {
            pools.complete?;
            let nearest = match section.findings.nearest(&pool.value, &pools.names) {
                Some(nearest) => format!("; the nearest is {}", excerpt(nearest)),
                None => String::new(),
            };
            let message = format!("there is no pool {}{nearest}", excerpt(&pool.value));
            Err(section.mistake(pool.at, "pool", message))
        }
    });
    let echo = section.or("echo", true, value::boolean);
    let unreachable = section.or("unreachable", false, value::boolean);
    let fragments =
        section.or("fragments", FragmentPolicy::default(), value::word(FragmentPolicy::NAMES));
    section.finish();
    ServiceDraft {
        name,
        address,
        protocol,
        port,
        distinct: distinct_name.and(distinct_address),
        pool,
        echo,
        unreachable,
        fragments,
    }
}
