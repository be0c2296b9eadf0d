//! `[[neighbor]]`: a static neighbour.

use std::collections::HashMap;

use super::findings::{Checked, Located};
use super::model::Neighbor;
use super::section::Section;
use super::value;

pub(super) fn read(root: &mut Section<'_>) -> Checked<Vec<Checked<Located<Neighbor>>>> {
    let sections = root.tables("neighbor")?.map_or_else(Vec::new, |found| found.value);
    let mut seen = HashMap::new();
    let drafts = sections.into_iter().map(|mut section| {
        let address = section.required("address", "\"192.0.2.254\"", value::text(value::host));
        let address = address.and_then(|address| {
            section.unique("address", &address, &mut seen)?;
            Ok(address)
        });
        let mac = section.required("mac", "\"02:00:00:00:00:fe\"", value::text(value::mac));
        section.finish();
        let address = address?;
        Ok(Located { value: Neighbor { address: address.value, mac: mac?.value }, at: address.at })
    });
    Ok(drafts.collect())
}
