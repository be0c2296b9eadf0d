//! `[[pool]]` and its backends.

use std::collections::HashMap;
use std::net::IpAddr;

use super::encapsulation::EncapsulationDraft;
use crate::declare::{Declaration, Presence, section};
use crate::findings::{Checked, Place};
use crate::kind::{Boolean, IntegerOr, integer};
use crate::section::Section;
use crate::text::{NAME, ROUTABLE};
use guideway_core::balancer::encapsulation::{Encapsulation, Parameters};

/// The limit on pools, on services and on the backends of all pools: indices of the packet path have
/// 16 bits, and one value means none.
pub(crate) const MAX_COUNT: usize = 65_535;

/// Small enough for the sum of all weights in 64 bits, large enough for shares in parts per million.
const MAX_WEIGHT: i64 = 1_000_000;

/// From what every IPv4 host must accept (RFC 9293 section 3.7.1) to what fits the largest MTU of a port.
const MSS: std::ops::RangeInclusive<i64> = 536..=9216 - 40;

/// The limit to which larger maximum segment sizes of clients are lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MssClamp {
    /// The largest that fits the port's MTU with the backend's encapsulation.
    Auto,
    /// This many bytes.
    To(u16),
}

fn mss_clamp() -> IntegerOr<u16, MssClamp> {
    IntegerOr { integer: integer(MSS), meaning: MssClamp::To, word: &[("auto", MssClamp::Auto)] }
}

section! {
    /// Backends that are interchangeable.
    "[[pool]]" 0..=MAX_COUNT => PoolDraft {
        /// Its name, unique.
        name: String = NAME, required "\"web\"", reload;
        /// The largest segment size that a client's SYN may announce to the backend, in bytes; `"auto"`
        /// for the largest that fits.
        ///
        /// `"auto"` is what fits the MTU of the backend's port with its encapsulation, less 40 bytes over
        /// IPv4 and 60 over IPv6. A SYN with a larger segment size is forwarded with this one. A SYN
        /// without the option is not changed. [The MTU](operations.md#the-mtu) says what this does and
        /// what it does not.
        mss_clamp: MssClamp = mss_clamp(), optional "\"auto\"" else "no change", reload;
        keys encapsulation: EncapsulationDraft;
        tables backends: BackendDraft, "[{ name = \"b1\", address = \"10.0.0.5\" }]",
            "Its backends: may be empty; at most 65535 in all pools. Inline, or as sections
            `[[pool.backends]]`.";
    }
}

section! {
    /// One server.
    ///
    /// The encapsulation and its settings each take precedence over the pool's. A key that no
    /// encapsulation of the backend uses is a mistake.
    "[[pool.backends]]" 0..=MAX_COUNT => BackendDraft {
        /// Its name, unique in its pool.
        name: String = NAME, required "\"b1\"", reload;
        /// The outer destination: unique in its pool; neither the node's own address nor that of a
        /// service.
        address: IpAddr = ROUTABLE, required "\"10.0.0.5\"", reload;
        /// The share of new flows, relative to the other weights. 0 drains: the backend keeps its flows
        /// and gets no new ones.
        ///
        /// A weight above 0 must be worth one slot: `table_size` × weight is at least the sum of the
        /// pool's weights, those of disabled backends included.
        weight: u32 = integer(0..=MAX_WEIGHT), default "1", reload;
        /// `false`: the backend gets no packets, and its flows go to other backends.
        enabled: bool = Boolean, default "true", reload;
        keys encapsulation: EncapsulationDraft;
    }
}

/// The declaration of a backend: what it shares with its pool is the pool's by default.
pub(crate) fn backend_declaration() -> Declaration {
    let mut declaration = BackendDraft::declaration();
    for key in &mut declaration.keys {
        if EncapsulationDraft::NAMES.contains(&key.name) {
            key.presence = Presence::Optional("the pool's");
        }
    }
    declaration
}

/// Backends that are interchangeable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// `pool.name`
    pub name: String,
    /// `pool.mss_clamp`
    pub mss_clamp: Option<MssClamp>,
    /// `pool.backends`, in the file's order
    pub backends: Vec<Backend>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// `backend.name`
    pub name: String,
    /// `backend.address`, the outer destination; unique in its pool
    pub address: IpAddr,
    /// `backend.weight`; 0 takes no new flows
    pub weight: u32,
    /// `backend.enabled`; false takes nothing
    pub enabled: bool,
    /// `backend.encapsulation`, or else the pool's: what the backend accepts, at least one
    pub encapsulations: Vec<Encapsulation>,
    /// The settings of the encapsulations: the backend's, or else the pool's
    pub parameters: Parameters,
}

impl PoolDraft {
    pub(crate) fn finish(self) -> Checked<Pool> {
        let backends =
            self.backends?.into_iter().map(|backend| backend.finish(&self.encapsulation));
        let backends = backends.collect::<Checked<_>>()?;
        Ok(Pool { name: self.name?, mss_clamp: self.mss_clamp?, backends })
    }
}

impl BackendDraft {
    fn finish(self, of_pool: &EncapsulationDraft) -> Checked<Backend> {
        Ok(Backend {
            name: self.name?,
            address: self.address?,
            weight: self.weight?,
            enabled: self.enabled?,
            encapsulations: self.encapsulation.listed(of_pool)?,
            parameters: self.encapsulation.parameters(of_pool)?,
        })
    }
}

pub(crate) fn read(root: &Section<'_>) -> Checked<Vec<PoolDraft>> {
    let sections = limited(root, "pool", "pools")?;
    let mut names = HashMap::new();
    let mut backends = 0;
    let mut pools = Vec::with_capacity(sections.len());
    for section in sections {
        let pool = pool(&section, &mut names);
        backends += pool.backends.as_ref().map_or(0, Vec::len);
        if backends > MAX_COUNT {
            let message =
                format!("there are over {MAX_COUNT} backends up to here, the most there can be");
            return Err(section.mistake_at("", "backends", message));
        }
        pools.push(pool);
    }
    Ok(pools)
}

/// The sections `[[key]]`, if they are not too many.
pub(super) fn limited<'a>(
    root: &Section<'a>,
    key: &'static str,
    what: &str,
) -> Checked<Vec<Section<'a>>> {
    let sections = root.tables(key)?.unwrap_or_default();
    if sections.len() > MAX_COUNT {
        let message = format!("there are {} {what}; there can be {MAX_COUNT}", sections.len());
        return Err(root.mistake_at(&format!("{key}[{MAX_COUNT}]"), key, message));
    }
    Ok(sections)
}

fn pool<'a>(section: &Section<'a>, names: &mut HashMap<String, Place<'a>>) -> PoolDraft {
    let draft = PoolDraft::read(section);
    section.unique("name", &draft.name, names);
    let (mut names, mut addresses) = (HashMap::new(), HashMap::new());
    for (index, backend) in draft.backends.iter().flatten().enumerate() {
        let path = |key| format!("backends[{index}].{key}");
        section.unique(&path("name"), &backend.name, &mut names);
        section.unique(&path("address"), &backend.address, &mut addresses);
    }
    draft
}
