//! Two workers against one, new flows beside established ones, memory per flow, and what a fuller flow table costs, all
//! without I/O. Prints one object, as `benches/report.py` describes.
//!
//!     cargo run --release -p guideway-scaling

mod flows;
mod full;
mod memory;
mod workers;

use anyhow::Result;
use cost::part::Part;
use cost::stage;

fn main() -> Result<()> {
    let mut part = Part::new("scaling");
    let (eal, pool) = stage::open("scaling")?;
    workers::measure(&mut part, &eal)?;
    flows::measure(&mut part, &eal, &pool)?;
    memory::measure(&mut part);
    full::measure(&mut part);
    part.print();
    Ok(())
}
