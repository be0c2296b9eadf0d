//! Memory per flow, and how full the table may be.

use cost::part::{Part, progress};
use cost::traffic::TIMEOUTS;
use guideway_core::balancer::Time;
use guideway_core::balancer::conntrack::{Bucket, Insertion, State, Table, WAYS};
use guideway_core::balancer::flow::FlowKey;
use guideway_core::balancer::hash::LocalSeed;
use guideway_core::balancer::id::{BackendId, ServiceId};
use serde_json::json;

const ENTRIES: usize = 1 << 20;
const SERVICE: ServiceId = ServiceId(0);

/// Measures, and adds the claims.
pub(crate) fn measure(part: &mut Part) {
    progress("memory");
    let mut flows = Table::new(ENTRIES);
    let seed = LocalSeed::new(7);
    let now = Time::from_millis(1);
    let bucket = size_of::<Bucket>() + WAYS * size_of::<ServiceId>();
    let bytes = (flows.capacity() / WAYS * bucket) as f64 / flows.capacity() as f64;
    let mut rows = Vec::new();
    let (mut offered, mut refused) = (0_u32, 0_u32);
    for percent in [10_u32, 25, 50, 75, 100] {
        while u64::from(offered) * 100 < ENTRIES as u64 * u64::from(percent) {
            let mut key = [0; 13];
            key[..4].copy_from_slice(&offered.to_be_bytes());
            let tag = seed.hash(&FlowKey::V4(key));
            let backend = BackendId::new(offered % 100);
            let insertion = flows.insert(tag, SERVICE, backend, State::Established, now, &TIMEOUTS);
            refused += u32::from(insertion == Insertion::Full);
            offered += 1;
        }
        let refused = 100.0 * f64::from(refused) / f64::from(offered);
        rows.push(vec![json!(format!("{percent} %")), json!(format!("{refused:.3} %"))]);
    }
    let columns = ["flows, of the entries", "flows without an entry"];
    let note = "A flow without an entry is forwarded all the same, by the Maglev table.";
    part.table(("memory", "How full the flow table may be"), &columns, rows, note);
    part.at_most("A flow of the table", 20.0, "bytes", bytes, 0.0);
}
