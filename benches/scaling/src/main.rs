//! Two workers beside one, what new flows do to old ones, and what flows take of the table, all without I/O. One
//! object on standard output, as `benches/report.py` describes.
//!
//!     cargo run --release -p guideway-scaling

#![expect(clippy::print_stdout, reason = "the report is the program's purpose")]

mod flows;
mod memory;
mod workers;

use anyhow::Result;
use cost::report::load;
use cost::stage;
use serde_json::json;

fn main() -> Result<()> {
    let before = load();
    let (eal, pool) = stage::open("scaling")?;
    let (mut tables, mut claims) = (Vec::new(), Vec::new());
    for (table, claim) in [workers::measure(&eal)?, flows::measure(&eal, &pool)?, memory::measure()]
    {
        tables.push(table);
        claims.push(claim);
    }
    let load = [before, load()];
    println!("{}", json!({ "part": "scaling", "load": load, "tables": tables, "claims": claims }));
    Ok(())
}
