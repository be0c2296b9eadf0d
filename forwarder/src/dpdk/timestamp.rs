//! The field of an mbuf that holds the time of its receipt.

use dpdk_sys as sys;

use super::eal::Eal;

/// Where mbufs keep the time of their receipt: a field that a device registers when it is
/// configured.
#[derive(Clone, Copy, Debug)]
pub struct TimestampField {
    offset: u32,
    flag: u64,
}

impl TimestampField {
    /// The field, if a device of this process has registered it. The pcap device does.
    pub fn lookup(_eal: &Eal) -> Option<TimestampField> {
        let mut field = sys::rte_mbuf_dynfield::default();
        // SAFETY: a C string and a valid pointer for the result.
        let offset = unsafe {
            sys::rte_mbuf_dynfield_lookup(c"rte_dynfield_timestamp".as_ptr(), &raw mut field)
        };
        // SAFETY: a C string; null is allowed for the details.
        let bit = unsafe {
            sys::rte_mbuf_dynflag_lookup(c"rte_dynflag_rx_timestamp".as_ptr(), std::ptr::null_mut())
        };
        let bit = u32::try_from(bit).ok()?;
        let offset = u32::try_from(offset).ok()?;
        let flag = 1_u64.checked_shl(bit)?;
        let whole =
            field.size == size_of::<u64>() && (offset as usize).is_multiple_of(align_of::<u64>());
        whole.then_some(TimestampField { offset, flag })
    }

    pub(super) fn offset(&self) -> u32 {
        self.offset
    }

    pub(super) fn flag(&self) -> u64 {
        self.flag
    }
}
