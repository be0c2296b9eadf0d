//! Memory per flow, and how full the table may be.

use cost::part::{Part, progress};
use cost::traffic::TIMEOUTS;
use guideway_core::balancer::Time;
use guideway_core::balancer::conntrack::{Bucket, Entry, Insertion, State, Table, WAYS};
use guideway_core::balancer::flow::FlowKey;
use guideway_core::balancer::hash::LocalSeed;
use guideway_core::balancer::id::{BackendId, ServiceId};
use serde_json::json;

/// Entries of a worker's flow table by default.
pub(crate) const ENTRIES: usize = 1 << 20;
const SERVICE: ServiceId = ServiceId(0);

/// Flows in percent of the entries, and the percentage of them that may have no entry.
const PERCENT: [(u32, Option<f64>); 6] =
    [(25, None), (50, None), (75, Some(0.001)), (90, Some(0.01)), (95, Some(0.5)), (100, None)];

/// Measures, and adds the claims.
pub(crate) fn measure(part: &mut Part) {
    progress("memory");
    let mut flows = Table::new(ENTRIES);
    let now = Time::from_millis(1);
    let bucket = size_of::<Bucket>() + WAYS * size_of::<ServiceId>();
    let bytes = (flows.capacity() / WAYS * bucket) as f64 / flows.capacity() as f64;
    let mut rows = Vec::new();
    let mut claims = Vec::new();
    let (mut offered, mut refused) = (0_u32, 0_u32);
    for (percent, target) in PERCENT {
        while u64::from(offered) * 100 < ENTRIES as u64 * u64::from(percent) {
            let (tag, backend) = (tag(offered.into()), BackendId::new(offered % 100));
            let entry = Entry::new(backend, State::Established, now);
            let insertion = flows.insert(tag, SERVICE, entry, now, &TIMEOUTS, |_, _| true);
            refused += u32::from(insertion == Insertion::Full);
            offered += 1;
        }
        let refused = 100.0 * f64::from(refused) / f64::from(offered);
        rows.push(vec![json!(format!("{percent} %")), json!(format!("{refused:.4} %"))]);
        if let Some(target) = target {
            claims.push((percent, target, refused));
        }
    }
    let columns = ["flows, of the entries", "flows without an entry"];
    let note = "A flow without an entry is forwarded all the same, by the Maglev table. \
                Beside its entries the table has a bit for every four of them.";
    part.table(("memory", "How full the flow table may be"), &columns, rows, note);
    part.at_most("A flow of the table", 20.0, "bytes", bytes, 0.0);
    for (percent, target, refused) in claims {
        let claim = format!("Flows without an entry, as many as {percent} percent of the entries");
        part.at_most(&claim, target, "%", refused, 0.0);
    }
}

/// The tag of a flow, for each number another one.
pub(crate) fn tag(number: u64) -> u64 {
    let [.., a, b, c, d, e] = number.to_be_bytes();
    let mut key = [0; 13];
    key[..5].copy_from_slice(&[b, c, d, e, a]);
    LocalSeed::new(7).hash(&FlowKey::V4(key))
}
