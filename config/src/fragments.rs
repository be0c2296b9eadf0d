//! `[fragments]`: the fragment table of each worker.

use std::time::Duration;

use super::findings::Checked;
use super::model::Fragments;
use super::section::Section;
use super::value;

const MAX_CONTEXTS: i64 = 1 << 20;

const MAX_PACKETS: i64 = 1 << 16;

const MAX_BYTES: i64 = 1 << 30;

pub(super) fn read(mut section: Section<'_>) -> Checked<Fragments> {
    let defaults = Fragments::default();
    let contexts =
        section.or("contexts", defaults.contexts, value::integer::<usize>(1..=MAX_CONTEXTS));
    let packets = section.or("packets", defaults.packets, value::integer::<usize>(0..=MAX_PACKETS));
    let bytes = section.or("bytes", defaults.bytes, value::integer::<usize>(0..=MAX_BYTES));
    let timeout = section.optional("timeout", value::integer::<u32>(1..=60_000));
    let contexts = contexts.and_then(|contexts| {
        if let Ok(packets) = &packets
            && contexts.value < packets.value
        {
            let message = format!(
                "is {}, fewer than the {} packets that may wait, each of another datagram",
                contexts.value, packets.value
            );
            return Err(section.mistake(contexts.at.max(packets.at), "contexts", message));
        }
        Ok(contexts)
    });
    section.finish();
    Ok(Fragments {
        contexts: contexts?.value,
        packets: packets?.value,
        bytes: bytes?.value,
        timeout: timeout?.map_or(defaults.timeout, |ms| Duration::from_millis(ms.value.into())),
    })
}
