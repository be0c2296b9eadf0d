//! What ports need whose devices share the packet pool with the kernel ([`Umem`]), and the buffers
//! that may be missing at the end because of them.

use super::wiring::Queues;
use crate::dpdk::port::Umem;

/// The needs of all such ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UmemBuffers {
    /// There is such a port: each packet must lie in a page of its own, in one piece of memory.
    pub(super) any: bool,
    /// Buffers that the devices take at the start and never return.
    pub(super) kept: u32,
    /// The most buffers that the kernel has not sent, or not reported as sent.
    pub(super) unsent: u32,
    /// Bytes of each buffer that frames cannot use.
    pub(super) headroom: u16,
}

impl UmemBuffers {
    /// Adds up each port's needs, by its queues and receive descriptors.
    pub(super) fn of<'a>(
        ports: impl Iterator<Item = (Option<Umem>, &'a Queues, u16)>,
    ) -> UmemBuffers {
        let mut umem_buffers = UmemBuffers::default();
        for (umem, queues, descriptors) in ports {
            let Some(umem) = umem else { continue };
            umem_buffers.any = true;
            umem_buffers.kept += umem.kept * u32::from(queues.receive);
            umem_buffers.unsent +=
                (umem.completions + u32::from(descriptors)) * u32::from(queues.transmit);
            umem_buffers.headroom = umem_buffers.headroom.max(umem.headroom);
        }
        umem_buffers
    }

    /// Divides the buffers that are missing when all devices are closed into those that drivers
    /// keep, those that may wait to be sent, and those that nothing explains.
    pub(super) fn account(&self, missing: u32) -> (u32, u32, u32) {
        // Fewer than drivers keep are missing: some buffer was freed twice, which is as bad as a
        // leak.
        let Some(more) = missing.checked_sub(self.kept) else {
            return (missing, 0, self.kept - missing);
        };
        if more > self.unsent { (self.kept, 0, more) } else { (self.kept, more, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_explained_or_leaked() {
        let none = UmemBuffers::of(std::iter::empty());
        assert_eq!(none, UmemBuffers::default());
        assert_eq!([0, 1].map(|missing| none.account(missing)), [(0, 0, 0), (0, 0, 1)]);

        let one = UmemBuffers { any: true, kept: 2048, unsent: 3072, headroom: 256 };
        assert_eq!(one.account(2048), (2048, 0, 0));
        assert_eq!(one.account(2049), (2048, 1, 0));
        assert_eq!(one.account(2048 + 3072), (2048, 3072, 0));
        assert_eq!(one.account(2048 + 3073), (2048, 0, 3073));
        assert_eq!(one.account(2047), (2047, 0, 1), "one was freed twice");
    }
}
