//! `[[vip]]`: what is special about one virtual address.

use std::collections::HashMap;
use std::net::IpAddr;

use super::announce::{AnnounceWhen, OnQuorumLoss, When};
use super::pool::limited;
use crate::declare::section;
use crate::findings::Checked;
use crate::kind::Words;
use crate::section::Section;
use crate::text::ROUTABLE;

section! {
    /// What is special about the announcement of one virtual address.
    "[[vip]]" 0..=super::pool::MAX_COUNT => Vip, VipDraft {
        /// The virtual address, unique, of at least one service.
        address: IpAddr = ROUTABLE, required "\"203.0.113.10\"", reload;
        /// As `announce.announce_when`, for this address.
        announce_when: AnnounceWhen = When, optional "[\"web\"]" else "that of `[announce]`", reload;
        /// As `announce.on_quorum_loss`, for this address.
        on_quorum_loss: OnQuorumLoss = Words(OnQuorumLoss::NAMES),
            optional "\"withdraw\"" else "that of `[announce]`", reload;
    }
}

pub(crate) fn read(root: &Section<'_>) -> Checked<Vec<VipDraft>> {
    let mut seen = HashMap::new();
    let vip = |section| {
        let draft = VipDraft::read(&section);
        section.unique("address", &draft.address, &mut seen);
        draft
    };
    Ok(limited(root, "vip", "sections")?.into_iter().map(vip).collect())
}
