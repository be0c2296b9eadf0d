//! Several workers against one, ring steering, new flows beside established ones, memory per flow, and what a fuller flow
//! table costs, all without I/O. Prints one object, as `benches/report.py` describes.
//!
//!     cargo run --release -p guideway-scaling [-- NAME]
//!
//! NAME is one of `workers`, `steering`, `flows` and `memory`: only that is measured.

mod flows;
mod full;
mod memory;
mod poller;
mod steering;
mod workers;

use std::env;

use anyhow::{Result, bail};
use cost::part::Part;
use cost::stage;
use guideway::dpdk::Mempool;

/// Packet buffers of the pool that workers share: enough for full rings and caches.
const BUFFERS: u32 = 4095;
/// Buffers in a worker's cache, as in an appliance.
const CACHE: u32 = 256;

fn main() -> Result<()> {
    let only = env::args().nth(1);
    let names = ["workers", "steering", "flows", "memory"];
    if let Some(name) = only.as_deref().filter(|name| !names.contains(name)) {
        bail!("there is no '{name}'; there are {}", names.join(", "));
    }
    let is_wanted = |name| only.as_deref().is_none_or(|only| only == name);
    let mut part = Part::new("scaling");
    let (eal, pool) = stage::open("scaling")?;
    let shared = Mempool::new(&eal, "shared", BUFFERS, 2048, CACHE, None)?;
    if is_wanted("workers") {
        workers::measure(&mut part, &eal, &shared)?;
    }
    if is_wanted("steering") {
        steering::measure(&mut part, &eal, &shared)?;
    }
    if is_wanted("flows") {
        flows::measure(&mut part, &eal, &pool)?;
    }
    if is_wanted("memory") {
        memory::measure(&mut part);
        full::measure(&mut part);
    }
    part.print();
    Ok(())
}
