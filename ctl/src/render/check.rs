//! Tables of checks.

use guideway_api::Pin;

use crate::table::{Table, key, left};

/// Which backend probes find from which source.
pub(super) fn pin_table(pins: &[Pin]) -> Table<3> {
    let mut table = Table::new([key("SOURCE"), left("POOL"), left("BACKEND")]);
    for pin in pins {
        table.row([&pin.source, &pin.pool, &pin.backend]);
    }
    table
}
