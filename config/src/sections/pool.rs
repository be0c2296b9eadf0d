//! `[[pool]]` and its backends.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::encapsulation::EncapsulationDraft;
use super::names::REFERENCE;
use crate::declare::{Declaration, Presence, section};
use crate::findings::{Checked, Place};
use crate::kind::{Boolean, IntegerOr, Words, integer, seconds};
use crate::section::{Section, Seen};
use crate::text::{NAME, ROUTABLE};
use guideway_core::balancer::choice::Choice;
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

/// What happens to new flows of a pool without a backend for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEmpty {
    /// Their packets are dropped.
    Drop,
    /// Their packets are answered by a RST or an ICMP error.
    Reset,
    /// They go to backends that are down.
    All,
}

impl OnEmpty {
    const NAMES: &[(&str, OnEmpty)] =
        &[("drop", OnEmpty::Drop), ("reset", OnEmpty::Reset), ("all", OnEmpty::All)];
}

/// How the share of a backend grows during its slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// As the time.
    Linear,
    /// As the square of the time.
    Quadratic,
}

impl Curve {
    const NAMES: &[(&str, Curve)] = &[("linear", Curve::Linear), ("quadratic", Curve::Quadratic)];
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
        /// How the backend of a new flow is chosen, see [Choices](operations.md#choices-of-a-backend).
        ///
        /// Only `"maglev"` and `"source-hash"` choose alike on every forwarder. The others are a warning: a
        /// flow that another forwarder gets may move to another backend there.
        choice: Choice = Words(Choice::NAMES), default "\"maglev\"", reload;
        /// Other pools, each once, whose backends are backends of this pool too.
        ///
        /// Those pools may name pools in turn. A backend that several ways lead to counts once. A pool must
        /// not lead back to itself, and no two backends may have one address. Encapsulation, `mss_clamp`,
        /// state, weight and slow start of a backend are those of the pool that has it. The backups of the
        /// other pools do not come along.
        pools: String = REFERENCE, list "[\"rack1\", \"rack2\"]", reload;
        /// The pool that serves while fewer than `min_active` backends are active.
        ///
        /// A backup may have a backup, up to 7 in a row. Backends that the pool has already do not count
        /// for its backup. [Backups](operations.md#backups) has the rules.
        backup: String = REFERENCE, optional "\"sorry\"" else "none", reload;
        /// How many backends must be active, with a weight above 0. With fewer the pool's backup serves.
        ///
        /// The pool serves on with fewer if no backup has enough. In a pool that has no backup and is none,
        /// the key changes only a metric.
        min_active: usize = integer(1..=65_535), default "1", reload;
        /// How long enough backends of the pool must have been active without a break until its backup
        /// gives way.
        ///
        /// A backup that has too few active backends itself gives way at once.
        backup_hold: Duration = seconds(0..=3600), default "10", reload, unit "seconds";
        /// What happens to new flows while no backend takes any. `"drop"`: they are dropped as
        /// `no_backend`. `"reset"`: they are answered by a TCP RST, or by an ICMP error for UDP. `"all"`:
        /// they go to the backends that are down.
        ///
        /// Flows that move while no backend takes any get the same; others stay where they are.
        /// [Refusals](operations.md#refusals) says which packets `"reset"` answers. With `"all"`, backends
        /// that drain, are disabled or have weight 0 get nothing; it is for checks that may be wrong about
        /// every backend at once.
        on_empty: OnEmpty = Words(OnEmpty::NAMES), default "\"drop\"", reload;
        /// How long the share of a backend grows that returns from `down` or `disabled`, until it is whole.
        ///
        /// The share has steps of a second. [Slow start](operations.md#slow-start) says when there is none.
        slow_start: Duration = seconds(1..=3600), optional "30" else "none: the whole share at once", reload,
            unit "seconds";
        /// How the share grows during the slow start: as the time, or as its square, which is gentler at
        /// first.
        slow_start_curve: Curve = Words(Curve::NAMES), default "\"linear\"", reload;
        /// The checks of the pool's own backends, each once. A backend is down while any of its checks says so, those of
        /// services included.
        checks: String = REFERENCE, list "[\"web\"]", reload;
        /// If more than so many percent of the checked backends fail at once, the pool keeps them: then it is the
        /// network in between. 100 for never.
        panic_threshold: u8 = integer(0..=100), optional "50" else "50; 100 with a `backup`", reload, unit "percent";
        keys encapsulation: EncapsulationDraft;
        tables backends: BackendDraft, "[{ name = \"b1\", address = \"10.0.0.5\" }]"
            else "required, unless `pools` is set",
            "Its backends: may be empty; at most 65535 in all pools, each counted for every pool that
            can choose it. Inline, or as sections `[[pool.backends]]`.";
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
        /// The share of new flows, relative to the other weights. With 0 the backend keeps its flows
        /// and gets no new ones.
        ///
        /// A backend of weight 0 is not draining: no `drain_timeout` ends its flows.
        ///
        /// A weight above 0 must be worth one slot: `table_size` × weight is at least the sum of the
        /// pool's weights, those of disabled backends included.
        weight: u32 = integer(0..=MAX_WEIGHT), default "1", reload;
        /// `false`: the backend is disabled. It gets no packets, and its flows go to other backends.
        ///
        /// What is [set at run time](operations.md#states-of-backends) has precedence over `weight` and `enabled`.
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
    /// `pool.choice`
    pub choice: Choice,
    /// `pool.min_active`
    pub min_active: usize,
    /// `pool.backup_hold`
    pub backup_hold: Duration,
    /// `pool.on_empty`
    pub on_empty: OnEmpty,
    /// `pool.slow_start`
    pub slow_start: Option<Duration>,
    /// `pool.slow_start_curve`
    pub slow_start_curve: Curve,
    /// `pool.checks`. Indices into [`Configuration::checks`](crate::Configuration::checks).
    pub checks: Vec<usize>,
    /// `pool.panic_threshold`, in percent
    pub panic_threshold: u8,
    /// `pool.pools`. Indices into [`Configuration::pools`](crate::Configuration::pools).
    pub pools: Vec<usize>,
    /// The pools that stand in for one another: this one, its backup, the backup's backup, and so on. Indices into
    /// [`Configuration::pools`](crate::Configuration::pools).
    pub levels: Vec<usize>,
    /// What the pool can choose from: its own backends in the file's order, then those of `pool.pools` and of the
    /// other levels. No backend is there twice.
    pub included: Vec<Inclusion>,
    /// `pool.backends`, in the file's order
    pub backends: Vec<Backend>,
}

impl Pool {
    /// What the pool of this index can choose from: its own backends, then those of other pools.
    pub fn choosable(&self, index: usize) -> impl Iterator<Item = Inclusion> + Clone {
        let own =
            (0..self.backends.len()).map(move |n| Inclusion { pool: index, backend: n, level: 0 });
        own.chain(self.others(index).copied())
    }

    /// The backends of other pools in [`Pool::included`], for the pool of this index.
    pub fn others(&self, index: usize) -> impl Iterator<Item = &Inclusion> + Clone {
        self.included.iter().filter(move |inclusion| inclusion.pool != index)
    }
}

/// A backend that a pool can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The pool that has it. An index into [`Configuration::pools`](crate::Configuration::pools).
    pub pool: usize,
    /// Its index in that pool.
    pub backend: usize,
    /// The level of the choosing pool that it belongs to, an index into [`Pool::levels`].
    pub level: usize,
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
    pub(crate) fn finish(self, found: Inclusions, checks: Vec<usize>) -> Checked<Pool> {
        let usual_threshold = match self.backup? {
            None => 50,
            Some(_) => 100,
        };
        let backends =
            self.backends?.into_iter().map(|backend| backend.finish(&self.encapsulation));
        let backends = backends.collect::<Checked<_>>()?;
        Ok(Pool {
            name: self.name?,
            mss_clamp: self.mss_clamp?,
            choice: self.choice?,
            min_active: self.min_active?,
            backup_hold: self.backup_hold?,
            on_empty: self.on_empty?,
            slow_start: self.slow_start?,
            slow_start_curve: self.slow_start_curve?,
            checks,
            panic_threshold: self.panic_threshold?.unwrap_or(usual_threshold),
            pools: found.pools,
            levels: found.levels,
            included: found.included,
            backends,
        })
    }
}

impl BackendDraft {
    fn finish(self, of_pool: &EncapsulationDraft) -> Checked<Backend> {
        Ok(Backend {
            name: self.name?,
            address: self.address?,
            weight: self.weight?,
            enabled: self.enabled?,
            encapsulations: self.encapsulation.listed(of_pool)?.to_vec(),
            parameters: self.encapsulation.parameters(of_pool)?,
        })
    }
}

/// [`Pool::pools`], [`Pool::levels`] and [`Pool::included`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Inclusions {
    pub(crate) pools: Vec<usize>,
    pub(crate) levels: Vec<usize>,
    pub(crate) included: Vec<Inclusion>,
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
    let mut draft = PoolDraft::read(section);
    section.unique("name", &draft.name, names);
    section.distinct("pools", &draft.pools);
    section.distinct("checks", &draft.checks);
    if draft.backends.is_ok() && !section.has("backends") && !section.has("pools") {
        let example = "[{ name = \"b1\", address = \"10.0.0.5\" }]";
        draft.backends = section.required("backends", example, Ok(None));
    }
    let without_effect = |key, other| {
        let message = format!("has no effect without {other}; set it, or remove this key");
        section.mistake(key, message);
    };
    if section.has("backup_hold") && matches!(draft.backup, Ok(None)) {
        without_effect("backup_hold", "backup");
    }
    if section.has("slow_start_curve") && matches!(draft.slow_start, Ok(None)) {
        without_effect("slow_start_curve", "slow_start");
    }
    let mut names = Seen::new("backends", "name");
    let mut addresses = Seen::new("backends", "address");
    for (index, backend) in draft.backends.iter().flatten().enumerate() {
        section.unique_in(&mut names, index, &backend.name);
        section.unique_in(&mut addresses, index, &backend.address);
    }
    draft
}
