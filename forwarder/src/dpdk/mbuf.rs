//! One packet in DPDK's memory: the only file that knows where an mbuf keeps its fields.
//!
//! The offsets come from the C compiler through `dpdk-sys/wrapper.h`, so the same source is right
//! for every DPDK whose fields have these names and widths. All arithmetic is done here in Rust,
//! where it is inlined; a call into C for each packet would cost more than the work.
//!
//! A packet is normally one buffer. It can be a chain of several where a device splits a frame that
//! is too long for one; everything here but [`Mbuf::frame_len`] looks at the first.
//! [`Mbuf::is_contiguous`] tells.

use std::marker::{PhantomData, PhantomPinned};
use std::{ptr, slice};

use dpdk_sys as sys;

use super::clock::TimestampField;
use crate::balancer::Frame;
use crate::wire::ethernet;

/// What one worker tells another about a packet that it hands over.
pub type Metadata = [u64; 2];

/// A packet, borrowed from the [`super::Burst`] that owns it.
///
/// It has no size to Rust, so that the references can be mbuf pointers while nothing, not even
/// `mem::swap` of two of them, moves the fields of one to another.
#[repr(C)]
pub struct Mbuf {
    _fields: [u8; 0],
    _not_send_sync_or_unpin: PhantomData<(*mut u8, PhantomPinned)>,
}

impl Mbuf {
    /// The frame, as far as it is in the first buffer.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `data` points to `data_len` bytes of the mbuf's buffer, which the mbuf alone owns;
        // they are initialised, as everything in DPDK's mapped memory is; nothing writes them while
        // `self` is borrowed.
        unsafe { slice::from_raw_parts(self.data(), self.data_len()) }
    }

    /// The first bytes of the frame; `None` if it has fewer, is in several buffers or in a shared one.
    #[inline(always)]
    pub fn head<const N: usize>(&self) -> Option<&[u8; N]> {
        if !self.is_single() || self.is_attached() || self.data_len() < N {
            return None;
        }
        let data = self.data();
        // SAFETY: an mbuf has a buffer.
        unsafe { std::hint::assert_unchecked(!data.is_null()) };
        // SAFETY: as in `bytes`, and there are that many.
        Some(unsafe { &*data.cast::<[u8; N]>() })
    }

    /// The frame, as far as it is in the first buffer, to write.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        debug_assert!(!self.is_shared(), "it may be written to by its owner alone");
        // SAFETY: as in `bytes`, and nothing else reads them while `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.data(), self.data_len()) }
    }

    /// Makes the frame `n` bytes longer at its front and returns all of it, or `None` where the
    /// headroom is less. The new bytes hold anything.
    #[inline]
    pub fn push_front(&mut self, n: usize) -> Option<&mut [u8]> {
        let offset = self.data_off();
        let by = u16::try_from(n).ok().filter(|&by| by <= offset)?;
        let length = self.data_len_u16();
        // The sums cannot overflow: the frame stays within its buffer, of at most 65535 bytes.
        self.set_data_off(offset - by);
        self.set_length(length + by, self.pkt_len() + u32::from(by));
        Some(self.bytes_mut())
    }

    /// Makes the frame `length` bytes behind the usual headroom, as if it had just been received, and
    /// returns them, or `None` where the buffer has less. They hold what was there.
    #[inline]
    pub fn refill(&mut self, length: usize) -> Option<&mut [u8]> {
        let headroom = u16::try_from(sys::GUIDEWAY_HEADROOM).ok()?;
        // SAFETY: `buf_len` is a u16 at this offset (wrapper.h).
        let buffer: u16 = unsafe { self.field(sys::GUIDEWAY_MBUF_BUF_LEN) };
        let room = buffer.checked_sub(headroom)?;
        let length = u16::try_from(length).ok().filter(|&length| length <= room)?;
        if !self.is_contiguous() {
            return None;
        }
        self.set_data_off(headroom);
        self.set_length(length, length.into());
        Some(self.bytes_mut())
    }

    /// Puts `N` bytes, no fewer than an Ethernet header has, in the place of that header, behind which
    /// `length` bytes of the frame stay. Returns the new bytes, which hold anything. Returns `None`, and
    /// changes nothing, if the frame is shorter, the headroom is less, the frame is in several buffers or
    /// more than one owner has it.
    #[inline(always)]
    pub fn wrap<const N: usize>(&mut self, length: u16) -> Option<&mut [u8; N]> {
        const { assert!(N >= ethernet::LENGTH && N < 256) };
        let offset = usize::from(self.data_off());
        let (growth, length) = (N - ethernet::LENGTH, usize::from(length));
        if growth > offset || ethernet::LENGTH + length > self.data_len() || !self.is_single() {
            return None;
        }
        debug_assert!(!self.is_attached(), "it may be written to by its owner alone");
        let (offset, length) = (offset - growth, N + length);
        // Neither is more than the buffer has, at most 65535 bytes.
        #[expect(clippy::cast_possible_truncation, reason = "at most 65535")]
        self.set_data_off(offset as u16);
        #[expect(clippy::cast_possible_truncation, reason = "at most 65535")]
        self.set_length(length as u16, length as u32);
        // SAFETY: within the buffer, as it was before.
        let data = unsafe { self.buffer().add(offset) };
        // SAFETY: an mbuf has a buffer.
        unsafe { std::hint::assert_unchecked(!data.is_null()) };
        // SAFETY: `data` points to `length` bytes of the mbuf's buffer, at least `N`, which the mbuf
        // alone owns; they are initialised, as everything in DPDK's mapped memory is; nothing else reads
        // them while `self` is borrowed mutably.
        Some(unsafe { &mut *data.cast::<[u8; N]>() })
    }

    /// Makes the frame `n` bytes shorter at its front and returns the rest of the first buffer, or
    /// `None` where that has less.
    #[inline]
    pub fn pull_front(&mut self, n: usize) -> Option<&mut [u8]> {
        let length = self.data_len_u16();
        let by = u16::try_from(n).ok().filter(|&by| by <= length)?;
        // Neither can leave its range: what is cut off was within the buffer.
        self.set_data_off(self.data_off() + by);
        self.set_length(length - by, self.pkt_len() - u32::from(by));
        Some(self.bytes_mut())
    }

    /// Makes the frame `n` bytes longer at its end and returns the new bytes, which hold anything; or
    /// `None` where the tailroom is less, or the frame is in several buffers.
    #[inline]
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        let length = self.data_len_u16();
        let by = u16::try_from(n).ok().filter(|&by| by <= self.tailroom())?;
        if !self.is_contiguous() {
            return None;
        }
        self.set_length(length + by, self.pkt_len() + u32::from(by));
        self.bytes_mut().get_mut(usize::from(length)..)
    }

    /// Cuts what the first buffer holds down to `len` bytes, if it is more.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        let length = self.data_len_u16();
        if let Some(len) = u16::try_from(len).ok().filter(|&len| len < length) {
            self.set_length(len, self.pkt_len() - u32::from(length - len));
        }
    }

    /// The length of the frame, over all its buffers.
    #[inline]
    pub fn frame_len(&self) -> usize {
        self.pkt_len() as usize
    }

    /// The whole frame is in the first buffer.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        // SAFETY: `nb_segs` is a u16 at this offset (wrapper.h).
        let segments: u16 = unsafe { self.field(sys::GUIDEWAY_MBUF_NB_SEGS) };
        segments == 1
    }

    /// Others may read or write the buffer: the mbuf has more than one owner, or the buffer is not its own
    /// (indirect or external). Devices give Guideway no such packets unless they are told to.
    #[inline]
    pub fn is_shared(&self) -> bool {
        // SAFETY: `refcnt` is a u16 at this offset (wrapper.h). Only a second owner would write it.
        let owners: u16 = unsafe { self.field(sys::GUIDEWAY_MBUF_REFCNT) };
        owners != 1 || self.is_attached()
    }

    /// The buffer is not its own.
    #[inline(always)]
    fn is_attached(&self) -> bool {
        self.flags() & sys::GUIDEWAY_MBUF_F_ATTACHED != 0
    }

    /// It is one buffer with one owner. One comparison for both.
    #[inline(always)]
    fn is_single(&self) -> bool {
        // SAFETY: `refcnt` and `nb_segs` are u16s, one behind the other, from this offset on (wrapper.h).
        let both: [u16; 2] = unsafe { self.field(sys::GUIDEWAY_MBUF_REFCNT) };
        both == [1, 1]
    }

    /// The hash by which the device chose the queue, where it gives it.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        if self.flags() & sys::GUIDEWAY_MBUF_F_RX_RSS_HASH == 0 {
            return None;
        }
        // SAFETY: `hash.rss` is a u32 at this offset (wrapper.h).
        Some(unsafe { self.field(sys::GUIDEWAY_MBUF_RSS) })
    }

    /// When the frame was received, in the device's unit, if the device says so for this one.
    ///
    /// The pcap device gives microseconds since 1970 in the DPDK that this is written for.
    #[inline]
    pub fn timestamp(&self, field: &TimestampField) -> Option<u64> {
        if self.flags() & field.flag() == 0 {
            return None;
        }
        // SAFETY: DPDK has registered a u64, aligned as one, at this offset of every mbuf.
        Some(unsafe { self.field(field.offset()) })
    }

    /// What was last written on the packet for its next reader, by [`Mbuf::set_metadata`]; anything if
    /// nothing was since it left its pool. `None` if the packet is of a pool without room for it.
    #[inline]
    pub fn metadata(&self) -> Option<Metadata> {
        if !self.has_metadata() {
            return None;
        }
        // SAFETY: the private area begins behind the mbuf, aligned for it, and has room for the note;
        // it is initialised, as everything in DPDK's mapped memory is.
        Some(unsafe { self.field(sys::GUIDEWAY_MBUF_SIZE) })
    }

    /// Writes a note on the packet: it goes with the packet and not with its bytes. False if the
    /// packet is of a pool without room for it.
    #[inline]
    pub fn set_metadata(&mut self, note: Metadata) -> bool {
        if self.has_metadata() {
            // SAFETY: as in `note`; the private area is no part of the frame.
            unsafe { self.set_field(sys::GUIDEWAY_MBUF_SIZE, note) };
        }
        self.has_metadata()
    }

    #[inline]
    fn has_metadata(&self) -> bool {
        // SAFETY: `priv_size` is a u16 at this offset (wrapper.h).
        let room: u16 = unsafe { self.field(sys::GUIDEWAY_MBUF_PRIV_SIZE) };
        usize::from(room) >= size_of::<Metadata>()
    }

    /// The pool that it goes back to.
    #[inline]
    pub(super) fn pool(&self) -> *const sys::rte_mempool {
        // SAFETY: `pool` is a pointer at this offset (wrapper.h).
        unsafe { self.field(sys::GUIDEWAY_MBUF_POOL) }
    }

    #[inline]
    fn tailroom(&self) -> u16 {
        // SAFETY: `buf_len` is a u16 at this offset (wrapper.h).
        let buffer: u16 = unsafe { self.field(sys::GUIDEWAY_MBUF_BUF_LEN) };
        buffer.saturating_sub(self.data_off()).saturating_sub(self.data_len_u16())
    }

    /// Asks the CPU to load the headers, where devices put them.
    #[inline(always)]
    pub fn prefetch_headers(&self) {
        super::prefetch_at(self.buffer().wrapping_add(sys::GUIDEWAY_HEADROOM as usize));
    }

    #[inline]
    fn data(&self) -> *mut u8 {
        // SAFETY: `data_off` is within the buffer.
        unsafe { self.buffer().add(usize::from(self.data_off())) }
    }

    #[inline]
    fn buffer(&self) -> *mut u8 {
        // SAFETY: `buf_addr` is a pointer at this offset (wrapper.h).
        unsafe { self.field(sys::GUIDEWAY_MBUF_BUF_ADDR) }
    }

    /// Bytes of the frame in the first buffer.
    #[inline]
    pub fn data_len(&self) -> usize {
        self.data_len_u16().into()
    }

    #[inline]
    fn data_len_u16(&self) -> u16 {
        // SAFETY: `data_len` is a u16 at this offset (wrapper.h).
        unsafe { self.field(sys::GUIDEWAY_MBUF_DATA_LEN) }
    }

    #[inline]
    fn data_off(&self) -> u16 {
        // SAFETY: `data_off` is a u16 at this offset (wrapper.h).
        unsafe { self.field(sys::GUIDEWAY_MBUF_DATA_OFF) }
    }

    #[inline]
    fn pkt_len(&self) -> u32 {
        // SAFETY: `pkt_len` is a u32 at this offset (wrapper.h).
        unsafe { self.field(sys::GUIDEWAY_MBUF_PKT_LEN) }
    }

    #[inline]
    fn flags(&self) -> u64 {
        // SAFETY: `ol_flags` is a u64 at this offset (wrapper.h).
        unsafe { self.field(sys::GUIDEWAY_MBUF_OL_FLAGS) }
    }

    #[inline]
    fn set_data_off(&mut self, offset: u16) {
        // SAFETY: `data_off` is a u16 at this offset (wrapper.h); the caller stays in the buffer.
        unsafe { self.set_field(sys::GUIDEWAY_MBUF_DATA_OFF, offset) };
    }

    #[inline]
    fn set_length(&mut self, data_len: u16, pkt_len: u32) {
        // SAFETY: `data_len` is a u16 at this offset (wrapper.h); the caller stays in the buffer.
        unsafe { self.set_field(sys::GUIDEWAY_MBUF_DATA_LEN, data_len) };
        // SAFETY: `pkt_len` is a u32 at this offset (wrapper.h).
        unsafe { self.set_field(sys::GUIDEWAY_MBUF_PKT_LEN, pkt_len) };
    }

    /// Makes it look as if it had so many buffers and owners.
    #[cfg(test)]
    pub(crate) fn pretend(&mut self, buffers: u16, owners: u16) {
        // SAFETY: both are u16s at these offsets (wrapper.h), and none moves the frame.
        unsafe { self.set_field(sys::GUIDEWAY_MBUF_NB_SEGS, buffers) };
        // SAFETY: as above.
        unsafe { self.set_field(sys::GUIDEWAY_MBUF_REFCNT, owners) };
    }

    /// # Safety
    /// An mbuf has a `T` at `offset`.
    #[inline(always)]
    unsafe fn field<T: Copy>(&self, offset: u32) -> T {
        // SAFETY: within the mbuf, as the caller says; `self` is an mbuf's address.
        let field = unsafe { ptr::from_ref(self).byte_add(offset as usize) };
        // SAFETY: a `T` of its own alignment, as the caller says.
        unsafe { field.cast::<T>().read() }
    }

    /// # Safety
    /// An mbuf has a `T` at `offset`, and `value` keeps the frame within its buffer.
    #[inline(always)]
    unsafe fn set_field<T: Copy>(&mut self, offset: u32, value: T) {
        // SAFETY: as in `field`.
        let field = unsafe { ptr::from_mut(self).byte_add(offset as usize) };
        // SAFETY: as in `field`, and `self` is borrowed mutably.
        unsafe { field.cast::<T>().write(value) };
    }
}

impl Frame for Mbuf {
    #[inline(always)]
    fn wrap<const N: usize>(&mut self, length: u16) -> Option<&mut [u8; N]> {
        Mbuf::wrap(self, length)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        Mbuf::bytes(self)
    }

    #[inline]
    fn truncate(&mut self, length: usize) {
        Mbuf::truncate(self, length);
    }

    #[inline]
    fn push_front(&mut self, n: usize) -> Option<&mut [u8]> {
        Mbuf::push_front(self, n)
    }

    #[inline]
    fn pull_front(&mut self, n: usize) -> Option<&mut [u8]> {
        Mbuf::pull_front(self, n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::testing::{DATA_ROOM, capture, device, packets, pool, settings};
    use crate::dpdk::{Burst, clock};

    /// What DPDK leaves before a frame by default.
    const HEADROOM: usize = 128;

    #[test]
    fn a_frame_grows_at_its_front_as_far_as_the_headroom() {
        let pool = pool(31);
        let mut burst = packets(&pool, 2);
        let mbuf = burst.get_mut(1).unwrap();
        assert_eq!(mbuf.bytes(), [1, 1]);
        let frame = mbuf.push_front(4).unwrap();
        frame[..4].copy_from_slice(&[9, 8, 7, 6]);
        assert_eq!(frame, [9, 8, 7, 6, 1, 1]);
        assert_eq!((mbuf.bytes(), mbuf.frame_len()), (&[9, 8, 7, 6, 1, 1][..], 6));

        assert!(mbuf.push_front(HEADROOM - 3).is_none());
        assert!(mbuf.push_front(65536 + 1).is_none());
        assert_eq!(mbuf.bytes().len(), 6, "a refusal changes nothing");
        assert_eq!(mbuf.push_front(HEADROOM - 4).unwrap().len(), HEADROOM + 2);
        assert!(mbuf.push_front(1).is_none());
        assert!(mbuf.push_front(0).is_some());
        assert_eq!(mbuf.bytes()[HEADROOM - 4..], [9, 8, 7, 6, 1, 1]);
    }

    #[test]
    fn a_frame_shrinks_at_its_front_and_grows_again() {
        let pool = pool(31);
        let mut burst = packets(&pool, 2);
        let mbuf = burst.get_mut(1).unwrap();
        mbuf.push_front(4).unwrap()[..4].copy_from_slice(&[9, 8, 7, 6]);
        assert_eq!(mbuf.pull_front(3), Some(&mut [6, 1, 1][..]));
        assert_eq!((mbuf.bytes(), mbuf.frame_len()), (&[6, 1, 1][..], 3));
        assert!(mbuf.pull_front(4).is_none() && mbuf.pull_front(65536 + 1).is_none());
        assert_eq!(mbuf.frame_len(), 3, "a refusal changes nothing");
        assert_eq!(mbuf.push_front(3).unwrap(), [9, 8, 7, 6, 1, 1]);
        assert_eq!(mbuf.pull_front(6).unwrap().len(), 0);
    }

    #[test]
    fn a_frame_grows_at_its_end_as_far_as_the_tailroom() {
        let pool = pool(31);
        let mut burst = packets(&pool, 1);
        let mbuf = burst.get_mut(0).unwrap();
        let room = usize::from(DATA_ROOM);
        assert!(mbuf.append(room).is_none());
        assert!(mbuf.append(usize::MAX).is_none());
        let new = mbuf.append(room - 1).unwrap();
        assert_eq!(new.len(), room - 1);
        new.fill(5);
        assert!(mbuf.append(1).is_none());
        assert_eq!((mbuf.bytes().len(), mbuf.frame_len()), (room, room));
        assert_eq!((mbuf.bytes()[0], mbuf.bytes()[1], mbuf.bytes()[room - 1]), (0, 5, 5));
        // The headroom is not the tailroom's: both ends can be used up.
        assert_eq!(mbuf.push_front(HEADROOM).unwrap().len(), room + HEADROOM);
    }

    #[test]
    fn a_frame_is_cut_but_never_made_longer() {
        let pool = pool(31);
        let mut burst = packets(&pool, 8);
        let mbuf = burst.get_mut(7).unwrap();
        mbuf.truncate(9);
        mbuf.truncate(65536 + 2);
        assert_eq!((mbuf.bytes().len(), mbuf.frame_len()), (8, 8));
        mbuf.truncate(3);
        assert_eq!((mbuf.bytes(), mbuf.frame_len()), (&[7, 7, 7][..], 3));
        mbuf.truncate(0);
        assert_eq!((mbuf.bytes(), mbuf.frame_len()), (&[][..], 0));
        assert_eq!(mbuf.append(2).unwrap().len(), 2);
    }

    #[test]
    fn references_to_packets_move_no_fields() {
        let pool = pool(31);
        let (mut one, mut two) = (packets(&pool, 1), packets(&pool, 2));
        std::mem::swap(one.get_mut(0).unwrap(), two.get_mut(1).unwrap());
        assert_eq!(one.get(0).unwrap().bytes(), [0]);
        assert_eq!(two.get(1).unwrap().bytes(), [1, 1]);
    }

    /// Two references to a chain: `rte_pktmbuf_clone` and `rte_pktmbuf_chain` set the same fields.
    #[test]
    fn only_one_buffer_with_one_owner_is_wrapped() {
        let pool = pool(31);
        let mut burst = packets(&pool, 32 - 1);
        let mbuf = burst.get_mut(30).unwrap();
        fn set<T: Copy>(mbuf: &mut Mbuf, offset: u32, value: T) {
            // SAFETY: the fields below are of these types (wrapper.h), and none moves the frame.
            unsafe { mbuf.set_field(offset, value) };
        }
        let good = |mbuf: &mut Mbuf| {
            assert!(mbuf.head::<31>().is_some() && !mbuf.is_shared() && mbuf.is_contiguous());
        };
        good(mbuf);
        mbuf.pretend(2, 1);
        set(mbuf, sys::GUIDEWAY_MBUF_PKT_LEN, 131_u32);
        assert!(mbuf.head::<31>().is_none() && mbuf.wrap::<40>(10).is_none());
        assert!(!mbuf.is_shared() && !mbuf.is_contiguous());
        assert_eq!((mbuf.data_len(), mbuf.frame_len()), (31, 131), "a refusal changes nothing");
        mbuf.pretend(1, 1);
        set(mbuf, sys::GUIDEWAY_MBUF_PKT_LEN, 31_u32);
        good(mbuf);

        for owners in [0, 2, 257, u16::MAX] {
            mbuf.pretend(1, owners);
            assert!(mbuf.head::<31>().is_none() && mbuf.wrap::<40>(10).is_none());
            assert!(mbuf.is_shared() && mbuf.is_contiguous());
        }
        mbuf.pretend(1, 1);
        good(mbuf);

        // RTE_MBUF_F_EXTERNAL and RTE_MBUF_F_INDIRECT, by DPDK's documentation.
        for flag in [61, 62] {
            set(mbuf, sys::GUIDEWAY_MBUF_OL_FLAGS, 1_u64 << flag);
            assert!(mbuf.head::<31>().is_none() && mbuf.is_shared());
        }
        set(mbuf, sys::GUIDEWAY_MBUF_OL_FLAGS, 0_u64);
        good(mbuf);
        mbuf.wrap::<40>(10).unwrap().fill(9);
        assert_eq!((mbuf.data_len(), mbuf.frame_len()), (50, 50));
        assert_eq!(mbuf.bytes()[39..], [9, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30]);
    }

    #[test]
    fn what_a_device_adds_counts_only_with_its_flag() {
        let pool = pool(31);
        let mut burst = packets(&pool, 1);
        let mbuf = burst.get_mut(0).unwrap();
        // SAFETY: `hash.rss` is a u32 at this offset (wrapper.h).
        unsafe { mbuf.set_field(sys::GUIDEWAY_MBUF_RSS, 77_u32) };
        assert_eq!(mbuf.rss_hash(), None);
        // SAFETY: `ol_flags` is a u64 at this offset (wrapper.h).
        unsafe { mbuf.set_field(sys::GUIDEWAY_MBUF_OL_FLAGS, sys::GUIDEWAY_MBUF_F_RX_RSS_HASH) };
        assert_eq!(mbuf.rss_hash(), Some(77));
    }

    #[test]
    fn captured_frames_have_their_time_and_long_ones_are_chains() {
        let directory = tempfile::tempdir().unwrap();
        let long: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let frames = [(1_700_000_000_000_001, &[1_u8; 60][..]), (1_700_000_000_999_999, &long)];
        let input = capture(directory.path(), &frames);
        let options = format!(
            ",rx_pcap={},tx_pcap={}",
            input.display(),
            directory.path().join("out.pcap").display()
        );
        let pool = pool(31);
        let (port, _) = device("net_pcap", &options).configure(&settings(), &pool).unwrap();
        let (port, mut rx, tx) = port.start().unwrap();
        let field = clock::TimestampField::lookup(crate::dpdk::testing::eal()).unwrap();

        let mut burst = Burst::new();
        assert_eq!(rx[0].receive(&mut burst), 2);
        let short = burst.get(0).unwrap();
        assert_eq!(short.bytes(), [1; 60]);
        assert!(short.is_contiguous());
        assert_eq!(short.timestamp(&field), Some(1_700_000_000_000_001));
        assert_eq!(short.rss_hash(), None);

        let chain = burst.get_mut(1).unwrap();
        assert!(!chain.is_contiguous());
        assert_eq!((chain.bytes(), chain.frame_len()), (&long[..DATA_ROOM.into()], 5000));
        assert_eq!(chain.timestamp(&field), Some(1_700_000_000_999_999));
        assert!(chain.append(1).is_none(), "the end is not in the first buffer");
        assert_eq!(chain.push_front(10).unwrap().len(), usize::from(DATA_ROOM) + 10);
        assert_eq!(chain.frame_len(), 5010);
        assert_eq!(pool.in_use(), 4, "a chain of three, and one");
        assert_eq!(rx[0].receive(&mut burst), 0, "the capture is at its end");
        assert_eq!(pool.in_use(), 0);

        assert_eq!(pool.allocate(&mut burst, 1), 1);
        assert_eq!(burst.get(0).unwrap().timestamp(&field), None);
        drop((port, rx, tx));
    }
}
