//! A burst with what was found out about its packets, as it goes from step to step.

use super::classify::{Classified, Unserved};
use super::fast_path::PacketMeta;
use super::frame::{BURST, Burst};
use super::passed::Passed;
use super::tables::Tables;
use super::verdict::DropReason;

/// A set of packets of a burst: one bit for each.
pub(super) type Places = u32;

const _: () = assert!(Places::BITS as usize == BURST);

/// The numbers of some packets of a burst, in order.
#[inline(always)]
pub(super) fn places(mut of: Places) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = of.trailing_zeros() as usize;
        of &= of.checked_sub(1)?;
        Some(place)
    })
}

/// A burst, and what was found out about its packets.
pub struct Batch<B> {
    /// The packets to process. They are gone afterwards.
    pub burst: B,
    pub(super) meta: [PacketMeta; BURST],
    /// The result for packets that are not plain. Their `meta` holds only the tag.
    pub(super) others: [Result<Classified, Unserved>; BURST],
    /// Packets to be freed together.
    pub(super) dropped: B,
    /// Whether a packet for a service has tags.
    pub(super) is_tagged: bool,
}

impl<B: Burst> Batch<B> {
    /// A batch without packets.
    pub fn new() -> Batch<B> {
        Batch {
            burst: B::default(),
            meta: [PacketMeta::NONE; BURST],
            others: [Err(Unserved::Drop(DropReason::FrameTooLong)); BURST],
            dropped: B::default(),
            is_tagged: false,
        }
    }

    /// The packets, and what was found out about each.
    #[inline(always)]
    pub(super) fn parts_mut(&mut self) -> (&mut B, &mut [PacketMeta]) {
        let length = self.burst.frames().len();
        (&mut self.burst, &mut self.meta[..length])
    }

    /// Takes over what another worker has found out about the packets. Returns whether that is enough.
    #[inline(never)]
    pub(super) fn is_classified(&mut self, tables: &Tables, passed: &[Passed; BURST]) -> bool {
        let length = self.burst.frames().len();
        let mut tags = 0;
        for (meta, passed) in self.meta[..length].iter_mut().zip(passed) {
            let Some(classified) = passed.classified_by(tables) else { return false };
            *meta = *classified;
            tags |= meta.headers.tags;
        }
        self.is_tagged = tags != 0;
        true
    }

    /// Drops packets of the burst. The others move up.
    #[inline(never)]
    pub(super) fn discard(&mut self, useless: Places) {
        if useless.count_ones() as usize == self.burst.frames().len() {
            return self.burst.clear();
        }
        for (place, frame) in std::mem::take(&mut self.burst).drain().enumerate() {
            let kept = match useless >> (place % BURST) & 1 {
                0 => &mut self.burst,
                _ => &mut self.dropped,
            };
            let to = kept.frames().len() % BURST;
            // There is room for all of a burst.
            let _ = kept.push(frame);
            if useless >> (place % BURST) & 1 == 0 {
                (self.meta[to], self.others[to]) =
                    (self.meta[place % BURST], self.others[place % BURST]);
            }
        }
        self.dropped.clear();
    }
}

impl<B: Burst> Default for Batch<B> {
    fn default() -> Batch<B> {
        Batch::new()
    }
}
