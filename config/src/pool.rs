//! `[[pool]]` and its backends.

use std::collections::HashMap;
use std::net::IpAddr;

use toml::de::DeValue;

use super::encapsulation::{self, EncapsulationDraft};
use super::findings::{Checked, Located};
use super::model::{Backend, MssClamp, Pool};
use super::section::Section;
use super::value;

/// The limit on pools, on services and on the backends of all pools: indices of the packet path have
/// 16 bits, and one value means none.
pub(super) const MAX_COUNT: usize = 65_535;

/// Small enough for the sum of all weights in 64 bits, large enough for shares in parts per million.
const MAX_WEIGHT: i64 = 1_000_000;

/// From what every IPv4 host must accept (RFC 9293 section 3.7.1) to what fits the largest MTU of a port.
const MSS: std::ops::RangeInclusive<i64> = 536..=9216 - 40;

#[derive(Debug)]
pub(super) struct PoolDraft {
    pub(super) at: usize,
    pub(super) name: Checked<Located<String>>,
    distinct: Checked<()>,
    pub(super) encapsulation: EncapsulationDraft,
    pub(super) mss_clamp: Checked<Option<Located<MssClamp>>>,
    pub(super) backends: Checked<Vec<BackendDraft>>,
}

#[derive(Debug)]
pub(super) struct BackendDraft {
    pub(super) at: usize,
    pub(super) name: Checked<Located<String>>,
    pub(super) address: Checked<Located<IpAddr>>,
    distinct: Checked<()>,
    pub(super) weight: Checked<Located<u32>>,
    pub(super) enabled: Checked<Located<bool>>,
    pub(super) encapsulation: EncapsulationDraft,
}

impl PoolDraft {
    pub(super) fn finish(self) -> Checked<Pool> {
        self.distinct?;
        let encapsulation = self.encapsulation;
        let backends = self.backends?.into_iter().map(|backend| backend.finish(&encapsulation));
        let backends = backends.collect::<Checked<_>>()?;
        let mss_clamp = self.mss_clamp?.map(|clamp| clamp.value);
        Ok(Pool { name: self.name?.value, mss_clamp, backends })
    }
}

impl BackendDraft {
    fn finish(self, of_pool: &EncapsulationDraft) -> Checked<Backend> {
        self.distinct?;
        Ok(Backend {
            name: self.name?.value,
            address: self.address?.value,
            weight: self.weight?.value,
            enabled: self.enabled?.value,
            encapsulations: self.encapsulation.listed(of_pool)?,
            parameters: self.encapsulation.parameters(of_pool)?,
        })
    }
}

pub(super) fn read(root: &mut Section<'_>) -> Checked<Vec<PoolDraft>> {
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
            return Err(root.findings.mistake(at, key, message));
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

pub(super) fn limit(
    root: &Section<'_>,
    key: &str,
    what: &str,
    number: usize,
    beyond: Option<usize>,
) -> Checked<()> {
    match beyond {
        None => Ok(()),
        Some(at) => {
            let message = format!("there are {number} {what}; there can be {MAX_COUNT}");
            Err(root.mistake(at, key, message))
        }
    }
}

fn pool(mut section: Section<'_>, names: &mut HashMap<String, usize>) -> PoolDraft {
    let name = section.required("name", "\"web\"", value::text(value::name));
    let distinct = match &name {
        Ok(name) => section.unique("name", name, names),
        Err(_) => Ok(()),
    };
    let encapsulation = encapsulation::read(&mut section);
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
    PoolDraft { at, name, distinct, encapsulation, mss_clamp, backends }
}

fn mss_clamp(value: &DeValue<'_>) -> Result<MssClamp, String> {
    let expected = |message| format!("{message}, or \"auto\"");
    match value {
        DeValue::String(text) if text == "auto" => Ok(MssClamp::Auto),
        value => value::integer(MSS)(value).map(MssClamp::To).map_err(expected),
    }
}

fn backend(
    mut section: Section<'_>,
    names: &mut HashMap<String, usize>,
    addresses: &mut HashMap<IpAddr, usize>,
) -> BackendDraft {
    let name = section.required("name", "\"b1\"", value::text(value::name));
    let address = section.required("address", "\"10.0.0.5\"", value::text(value::routable));
    let distinct_name = name.as_ref().map_or(Ok(()), |name| section.unique("name", name, names));
    let distinct_address =
        address.as_ref().map_or(Ok(()), |address| section.unique("address", address, addresses));
    let weight = section.or("weight", 1, value::integer::<u32>(0..=MAX_WEIGHT));
    let enabled = section.or("enabled", true, value::boolean);
    let encapsulation = encapsulation::read(&mut section);
    let at = section.at;
    section.finish();
    let distinct = distinct_name.and(distinct_address);
    BackendDraft { at, name, address, distinct, weight, enabled, encapsulation }
}
