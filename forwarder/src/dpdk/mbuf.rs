//! One packet in DPDK's memory. This is the only file that knows where an mbuf keeps its fields.
//!
//! The offsets come from the C compiler by `dpdk-sys/wrapper.h`, so the same source is right for
//! every DPDK whose fields have these names and widths. All arithmetic is done here in Rust, where
//! it is inlined. A call into C for each packet would cost more than the work.
//!
//! A packet is normally one buffer. It can be a chain of several where a device splits a frame that
//! is too long for one; [`Mbuf::is_contiguous`] is then false. All functions but
//! [`Mbuf::frame_len`] look at the first buffer alone.

use std::marker::{PhantomData, PhantomPinned};
use std::{ptr, slice};

use dpdk_sys as sys;

use super::prefetch::prefetch_at;
use super::timestamp::TimestampField;
use guideway_core::balancer::Frame;
use guideway_core::balancer::frame::{BEFORE, BEHIND, Border};
use guideway_core::wire::ethernet;

/// What one worker writes on a packet for the next that handles it.
pub type Metadata = [u64; 2];

/// A packet, borrowed from the [`super::Burst`] that owns it.
///
/// The type has no size to Rust. So references can be mbuf pointers, and nothing, not even
/// `mem::swap` of two of them, moves the fields of one mbuf to another.
#[repr(C)]
pub struct Mbuf {
    _fields: [u8; 0],
    _not_send_sync_or_unpin: PhantomData<(*mut u8, PhantomPinned)>,
}

impl Mbuf {
    /// The frame, as far as it is in the first buffer.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `data` points to `data_len` bytes of the mbuf's buffer, which the mbuf alone
        // owns. They are initialised, as everything in DPDK's mapped memory is. Nothing writes them
        // while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.data(), self.data_len()) }
    }

    /// The first bytes of the frame. `None` if the frame is shorter, in several buffers or in a
    /// shared buffer.
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

    /// Makes the frame `n` bytes longer at its front and returns all of it. Returns `None` if the
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

    /// Makes the frame `length` bytes behind the usual headroom, as if it had just been received,
    /// and returns it. Returns `None` if the buffer has less. The bytes hold what was there.
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

    /// Replaces the Ethernet header by `N` bytes, no fewer than an Ethernet header has, and keeps
    /// `length` bytes behind it. Returns the new bytes, which hold anything. Returns `None`, and
    /// changes nothing, if the frame is shorter, the headroom is less, the frame is in several
    /// buffers or more than one owner has it.
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
        // Neither exceeds the buffer, of at most 65535 bytes.
        #[expect(clippy::cast_possible_truncation, reason = "at most 65535")]
        self.set_data_off(offset as u16);
        #[expect(clippy::cast_possible_truncation, reason = "at most 65535")]
        self.set_length(length as u16, length as u32);
        // SAFETY: within the buffer, as the data was before.
        let data = unsafe { self.buffer().add(offset) };
        // SAFETY: an mbuf has a buffer.
        unsafe { std::hint::assert_unchecked(!data.is_null()) };
        // SAFETY: `data` points to `length` bytes of the mbuf's buffer, at least `N`, which the
        // mbuf alone owns. They are initialised, as everything in DPDK's mapped memory is. Nothing
        // else reads them while `self` is borrowed mutably.
        Some(unsafe { &mut *data.cast::<[u8; N]>() })
    }

    /// Replaces the first `from` bytes by `to` bytes and keeps `length` bytes behind them. Returns
    /// the border between both with its surroundings, which hold anything where they are not in the
    /// frame. Returns `None`, and changes nothing, if the frame is shorter, is in several buffers or
    /// has more than one owner, if the buffer has not so many bytes before the border, or if
    /// `length` is less than the border has behind it.
    #[inline(always)]
    pub fn reframe(&mut self, from: usize, to: usize, length: u16) -> Option<&mut Border> {
        let (behind, length) = (self.data_len().checked_sub(from)?, usize::from(length));
        let border = usize::from(self.data_off()) + from;
        let is_whole = (BEHIND..=behind).contains(&length);
        if border < BEFORE || to > BEFORE || !is_whole || !self.is_single() {
            return None;
        }
        debug_assert!(!self.is_attached(), "it may be written to by its owner alone");
        // Neither exceeds the buffer, of at most 65535 bytes: `to` bytes fit before the border.
        #[expect(clippy::cast_possible_truncation, reason = "at most 65535")]
        self.set_data_off((border - to) as u16);
        #[expect(clippy::cast_possible_truncation, reason = "at most 65535")]
        self.set_length((to + length) as u16, (to + length) as u32);
        // SAFETY: within the buffer: the border lies in the data, and has `BEFORE` bytes before it.
        let begin = unsafe { self.buffer().add(border - BEFORE) };
        // SAFETY: an mbuf has a buffer.
        unsafe { std::hint::assert_unchecked(!begin.is_null()) };
        // SAFETY: `BEFORE` bytes of the buffer lie before the border, and at least `BEHIND` of the data behind
        // it. The mbuf alone owns the buffer, which is initialised, as everything in DPDK's mapped memory is.
        // Nothing else reads it while `self` is borrowed mutably.
        Some(unsafe { &mut *begin.cast::<Border>() })
    }

    /// Makes the frame `n` bytes shorter at its front and returns the rest of the first buffer.
    /// Returns `None` if that has less.
    #[inline]
    pub fn pull_front(&mut self, n: usize) -> Option<&mut [u8]> {
        let length = self.data_len_u16();
        let by = u16::try_from(n).ok().filter(|&by| by <= length)?;
        // Neither can leave its range: the removed bytes were within the buffer.
        self.set_data_off(self.data_off() + by);
        self.set_length(length - by, self.pkt_len() - u32::from(by));
        Some(self.bytes_mut())
    }

    /// Makes the frame `n` bytes longer at its end and returns the new bytes, which hold anything.
    /// Returns `None` if the tailroom is less, or the frame is in several buffers.
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

    /// Shortens the first buffer's part of the frame to `len` bytes, if it is longer.
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

    /// Whether the whole frame is in the first buffer.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        // SAFETY: `nb_segs` is a u16 at this offset (wrapper.h).
        let segments: u16 = unsafe { self.field(sys::GUIDEWAY_MBUF_NB_SEGS) };
        segments == 1
    }

    /// Whether others may read or write the buffer: the mbuf has more than one owner, or the buffer
    /// is not its own (indirect or external). Devices deliver no such packets to Guideway unless
    /// configured to.
    #[inline]
    pub fn is_shared(&self) -> bool {
        // SAFETY: `refcnt` is a u16 at this offset (wrapper.h). Only a second owner would write it.
        let owners: u16 = unsafe { self.field(sys::GUIDEWAY_MBUF_REFCNT) };
        owners != 1 || self.is_attached()
    }

    /// Whether the buffer is not the mbuf's own.
    #[inline(always)]
    fn is_attached(&self) -> bool {
        self.flags() & sys::GUIDEWAY_MBUF_F_ATTACHED != 0
    }

    /// Whether the mbuf is one buffer with one owner, by one comparison.
    #[inline(always)]
    fn is_single(&self) -> bool {
        // SAFETY: `refcnt` and `nb_segs` are u16s, one behind the other, from this offset on (wrapper.h).
        let both: [u16; 2] = unsafe { self.field(sys::GUIDEWAY_MBUF_REFCNT) };
        both == [1, 1]
    }

    /// The hash by which the device chose the queue, if the device provides it.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        if self.flags() & sys::GUIDEWAY_MBUF_F_RX_RSS_HASH == 0 {
            return None;
        }
        // SAFETY: `hash.rss` is a u32 at this offset (wrapper.h).
        Some(unsafe { self.field(sys::GUIDEWAY_MBUF_RSS) })
    }

    /// When the frame was received, in the device's unit, if the device recorded it.
    ///
    /// The pcap device gives microseconds since 1970.
    #[inline]
    pub fn timestamp(&self, field: &TimestampField) -> Option<u64> {
        if self.flags() & field.flag() == 0 {
            return None;
        }
        // SAFETY: DPDK has registered an aligned u64 at this offset of every mbuf.
        Some(unsafe { self.field(field.offset()) })
    }

    /// What [`Mbuf::set_metadata`] last wrote on the packet. It may hold anything if nothing was
    /// written since the packet left its pool. `None` if the packet's pool has no room for
    /// metadata.
    #[inline]
    pub fn metadata(&self) -> Option<Metadata> {
        if !self.has_metadata() {
            return None;
        }
        // SAFETY: the private area begins behind the mbuf, is aligned for metadata and has room for
        // it. It is initialised, as everything in DPDK's mapped memory is.
        Some(unsafe { self.field(sys::GUIDEWAY_MBUF_SIZE) })
    }

    /// Writes metadata on the packet, beside its bytes. Returns false if the packet's pool has no
    /// room for metadata.
    #[inline]
    pub fn set_metadata(&mut self, metadata: Metadata) -> bool {
        if self.has_metadata() {
            // SAFETY: as in `metadata`; the private area is no part of the frame.
            unsafe { self.set_field(sys::GUIDEWAY_MBUF_SIZE, metadata) };
        }
        self.has_metadata()
    }

    #[inline]
    fn has_metadata(&self) -> bool {
        // SAFETY: `priv_size` is a u16 at this offset (wrapper.h).
        let room: u16 = unsafe { self.field(sys::GUIDEWAY_MBUF_PRIV_SIZE) };
        usize::from(room) >= size_of::<Metadata>()
    }

    /// The pool to which the mbuf returns.
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

    /// Asks the CPU to load the headers, at the place where devices put them.
    #[inline(always)]
    pub fn prefetch_headers(&self) {
        prefetch_at(self.buffer().wrapping_add(sys::GUIDEWAY_HEADROOM as usize));
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

    /// Makes the mbuf look as if it had this many buffers and owners.
    #[cfg(test)]
    pub(crate) fn pretend(&mut self, buffers: u16, owners: u16) {
        // SAFETY: both are u16s at these offsets (wrapper.h), and none moves the frame.
        unsafe { self.set_field(sys::GUIDEWAY_MBUF_NB_SEGS, buffers) };
        // SAFETY: both are u16s at these offsets (wrapper.h), and none moves the frame.
        unsafe { self.set_field(sys::GUIDEWAY_MBUF_REFCNT, owners) };
    }

    /// # Safety
    /// An mbuf has a `T` at `offset`.
    #[inline(always)]
    unsafe fn field<T: Copy>(&self, offset: u32) -> T {
        // SAFETY: within the mbuf, as the caller promises; `self` is an mbuf's address.
        let field = unsafe { ptr::from_ref(self).byte_add(offset as usize) };
        // SAFETY: a `T` of its own alignment, as the caller promises.
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

    #[inline(always)]
    fn reframe(&mut self, from: usize, to: usize, length: u16) -> Option<&mut Border> {
        Mbuf::reframe(self, from, to, length)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        Mbuf::bytes(self)
    }

    #[inline(always)]
    fn first_length(&self) -> usize {
        self.data_len()
    }

    #[inline]
    fn length(&self) -> usize {
        self.frame_len()
    }

    #[inline]
    fn is_contiguous(&self) -> bool {
        Mbuf::is_contiguous(self)
    }

    #[inline]
    fn is_shared(&self) -> bool {
        Mbuf::is_shared(self)
    }

    #[inline(always)]
    fn head<const N: usize>(&self) -> Option<&[u8; N]> {
        Mbuf::head(self)
    }

    #[inline(always)]
    fn prefetch_headers(&self) {
        Mbuf::prefetch_headers(self);
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

    #[inline]
    fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        Mbuf::append(self, n)
    }
}

#[cfg(test)]
mod tests;
