//! `[[neighbor]]`: a static neighbour.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::declare::section;
use crate::findings::Checked;
use crate::section::Section;
use crate::text::{HOST, MAC, Mac};

section! {
    /// A static neighbour: a gateway, a backend in a port's own network, or a cluster member.
    ///
    /// [Next hops](operations.md#next-hops) says which backend needs one.
    #[derive(Copy)]
    "[[neighbor]]" 0..=usize::MAX => Neighbor, NeighborDraft {
        /// Its address, unique and not the node's own.
        address: IpAddr = HOST, required "\"192.0.2.254\"", reload;
        /// Its MAC address.
        mac: Mac = MAC, required "\"02:00:00:00:00:fe\"", reload;
    }
}

pub(crate) fn read(root: &Section<'_>) -> Checked<Vec<NeighborDraft>> {
    let sections = root.tables("neighbor")?.unwrap_or_default();
    let mut seen = HashMap::new();
    let neighbor = |section| {
        let draft = NeighborDraft::read(&section);
        section.unique("address", &draft.address, &mut seen);
        draft
    };
    Ok(sections.into_iter().map(neighbor).collect())
}
