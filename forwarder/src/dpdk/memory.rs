//! The allocator of the process: large tables get huge pages, where the system allows them.
//!
//! A flow table of a million flows has 16 MiB, which is 4096 ordinary pages or 8 huge ones. With
//! ordinary pages nearly every packet misses the TLB as well as the cache. Tables are plain boxes
//! and vectors and know nothing of pages. The allocator gives every allocation of 2 MiB or more a
//! mapping of its own, in whole huge pages:
//!
//! - transparent ones by default, unless the kernel's setting is `never`;
//! - reserved ones (hugetlbfs) after [`use_reserved`], as long as there are any. DPDK's packets
//!   come first: the appliance calls it only where transparent huge pages are off, and after DPDK
//!   has its memory;
//! - otherwise ordinary pages.
//!
//! The kernel puts a page on the NUMA node of the thread that first writes to it. Zeroed memory
//! comes from the kernel and is faulted in at once by the thread that allocates it: each page is
//! written once, and no packet waits for the kernel to clear 2 MiB.
//!
//! Smaller allocations go to the system's allocator. A page without access lies behind each
//! mapping, so that the kernel does not join two mappings, and `/proc` shows each by itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{self, Advice, MapFlags, MprotectFlags, ProtFlags};

/// Bytes of a huge page, and of the smallest allocation that gets its own pages.
pub const HUGE: usize = 2 << 20;
/// Bytes of the page without access: the largest page size that the kernel may be built with.
const GUARD: usize = 64 << 10;

/// Whether reserved huge pages may be taken.
static RESERVED: AtomicBool = AtomicBool::new(false);

/// Makes large allocations from now on take reserved huge pages rather than transparent ones, until
/// none is left.
pub fn use_reserved() {
    RESERVED.store(true, Ordering::Relaxed);
}

/// The allocator of the process.
#[derive(Debug)]
pub struct Allocator;

/// Whether an allocation has a mapping of its own.
#[inline]
fn is_large(layout: Layout) -> bool {
    layout.size() >= HUGE && layout.align() <= HUGE
}

// SAFETY: an allocation that is not large is the system allocator's from beginning to end, because
// `is_large` depends on the layout alone. A large one is a fresh mapping of at least the layout's
// size at a multiple of `HUGE`, which is a multiple of the alignment. The mapping is removed when
// the allocation is freed and not before. Nothing here panics.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            let memory = map(layout.size());
            if !memory.is_null() {
                populate(memory, layout.size());
            }
            return memory;
        }
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if is_large(layout) {
            // SAFETY: the caller returns memory that `map` gave for this layout, and does not use
            // it after this.
            return unsafe { unmap(memory, layout.size()) };
        }
        // SAFETY: the memory came from the system's allocator by this layout; the caller's promise
        // is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size and the alignment make a layout.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(layout), is_large(new)) {
            (false, false) => {
                // SAFETY: the memory came from the system's allocator; the caller's promise is
                // passed on.
                unsafe { System.realloc(memory, layout, size) }
            }
            (true, true) if mapped(layout.size()) == mapped(size) => memory,
            // SAFETY: the caller's promises about the old layout and the new one are passed on.
            _ => unsafe { self.moved(memory, layout, new) },
        }
    }
}

impl Allocator {
    /// Copies an allocation into a new one.
    ///
    /// # Safety
    /// The conditions of `realloc` hold.
    #[cold]
    unsafe fn moved(&self, memory: *mut u8, old: Layout, new: Layout) -> *mut u8 {
        // SAFETY: the caller promises that the layout is valid and its size is not 0.
        let to = unsafe { self.alloc(new) };
        if !to.is_null() {
            // SAFETY: both are allocations of at least this many bytes, and different ones.
            unsafe { ptr::copy_nonoverlapping(memory, to, old.size().min(new.size())) };
            // SAFETY: the caller gives up the old allocation.
            unsafe { self.dealloc(memory, old) };
        }
        to
    }
}

/// The bytes that are mapped for an allocation of `size` bytes.
fn mapped(size: usize) -> usize {
    // No overflow: a layout's size is at most `isize::MAX`.
    size.next_multiple_of(HUGE)
}

/// Maps zeroed memory in whole huge pages. Returns null if there is none.
#[cold]
fn map(size: usize) -> *mut u8 {
    let length = mapped(size);
    if RESERVED.load(Ordering::Relaxed) {
        let Some(at) = reserve(length) else { return ptr::null_mut() };
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::HUGETLB | MapFlags::HUGE_2MB;
        // SAFETY: replaces a part of a mapping that nobody else knows, and that has no content.
        let taken = unsafe { mm::mmap_anonymous(at, length, read_write(), flags) };
        if taken.is_ok() {
            return at.cast();
        }
        // There are not enough huge pages. It is not certain what the failure has left of the
        // addresses, so they are neither used again nor given back. This happens once.
        RESERVED.store(false, Ordering::Relaxed);
    }
    let Some(at) = reserve(length) else { return ptr::null_mut() };
    // SAFETY: a part of a mapping that nobody else knows.
    let opened = unsafe { mm::mprotect(at, length, MprotectFlags::READ | MprotectFlags::WRITE) };
    if opened.is_err() {
        // SAFETY: `reserve` mapped this, and nobody uses it.
        unsafe { unmap(at.cast(), length) };
        return ptr::null_mut();
    }
    // SAFETY: this advice changes no content. A kernel without huge pages refuses it, without
    // consequences.
    let _ = unsafe { mm::madvise(at, length, Advice::LinuxHugepage) };
    at.cast()
}

fn read_write() -> ProtFlags {
    ProtFlags::READ | ProtFlags::WRITE
}

/// Reserves addresses without access: `length` bytes from a multiple of `HUGE` on, and the guard
/// behind them.
fn reserve(length: usize) -> Option<*mut c_void> {
    let whole = length.checked_add(HUGE + GUARD)?;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a mapping at an address that the kernel chooses disturbs no other.
    let start =
        unsafe { mm::mmap_anonymous(ptr::null_mut(), whole, ProtFlags::empty(), flags) }.ok()?;
    let before = start.cast::<u8>().align_offset(HUGE);
    let after = HUGE - before;
    // A failure here only wastes addresses, not memory.
    if before > 0 {
        // SAFETY: the beginning of the new mapping, in whole pages.
        let _ = unsafe { mm::munmap(start, before) };
    }
    let at = start.wrapping_byte_add(before);
    if after > 0 {
        // SAFETY: the end of the new mapping, in whole pages.
        let _ = unsafe { mm::munmap(at.wrapping_byte_add(length + GUARD), after) };
    }
    Some(at)
}

/// Makes the kernel fault memory in, zeroed. A kernel before Linux 5.14 cannot, and does so at the
/// first use.
fn populate(memory: *mut u8, size: usize) {
    // SAFETY: a mapping of at least this size, not yet used; the advice changes no content.
    let _ = unsafe { mm::madvise(memory.cast(), mapped(size), Advice::LinuxPopulateWrite) };
}

/// Gives a mapping back, with its guard.
///
/// # Safety
/// `map` or `reserve` gave the mapping for this size, and nobody uses it.
#[cold]
unsafe fn unmap(memory: *mut u8, size: usize) {
    // SAFETY: as the caller promises. This can fail only if the kernel lacks memory for its list of
    // mappings. Then the memory stays mapped, which harms nobody.
    let _ = unsafe { mm::munmap(memory.cast(), mapped(size) + GUARD) };
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dpdk::testing::in_own_process;

    /// The lines of `/proc/self/smaps` about the mapping that begins with this allocation.
    fn smaps(memory: &[u64]) -> Vec<String> {
        let start = format!("{:x}-", memory.as_ptr().addr());
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&start));
        let head = lines.next().expect("a mapping of its own").to_owned();
        let is_head = |line: &&str| !line.split(' ').next().unwrap().ends_with(':');
        let rest = lines.take_while(|line| !is_head(line)).map(str::to_owned);
        std::iter::once(head).chain(rest).collect()
    }

    fn kib(smaps: &[String], key: &str) -> usize {
        let line = smaps.iter().find_map(|line| line.strip_prefix(key));
        line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn length(smaps: &[String]) -> usize {
        let (start, end) = smaps[0].split(' ').next().unwrap().split_once('-').unwrap();
        let number = |hex| usize::from_str_radix(hex, 16).unwrap();
        number(end) - number(start)
    }

    #[test]
    fn what_is_large_has_its_own_mapping_of_whole_huge_pages() {
        let one = vec![0_u64; (3 << 20) / 8];
        let two = vec![0_u64; (4 << 20) / 8];
        for memory in [&one, &two] {
            assert_eq!(memory.as_ptr().addr() % HUGE, 0);
            assert!(memory.iter().all(|&word| word == 0));
            let smaps = smaps(memory);
            assert_eq!(length(&smaps), 4 << 20);
            // Zeroed memory is present at once, and all on huge pages where nothing forbids these.
            assert_eq!(kib(&smaps, "Rss:"), 4 << 10);
            let mode = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap();
            if !mode.contains("[never]") {
                assert!(kib(&smaps, "AnonHugePages:") > 0, "{smaps:#?}");
            }
        }
    }

    #[test]
    fn what_grows_and_shrinks_keeps_its_content() {
        let mut memory: Vec<u64> = Vec::new();
        for n in 0..3 << 20 {
            memory.push(n);
        }
        for keep in [2 << 20, 1 << 20, 1000, 10] {
            memory.truncate(keep);
            memory.shrink_to_fit();
            assert!(memory.iter().enumerate().all(|(i, &n)| n == i as u64));
        }
        memory.extend(10..1 << 20);
        assert!(memory.iter().enumerate().all(|(i, &n)| n == i as u64));
    }

    #[test]
    fn what_is_freed_is_given_back() {
        let memory = vec![1_u64; (16 << 20) / 8];
        let start = format!("{:x}-", memory.as_ptr().addr());
        assert!(fs::read_to_string("/proc/self/maps").unwrap().contains(&start));
        let size = |key: &str| {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
        };
        drop(memory);
        let before = size("VmSize:");
        for _ in 0..1000 {
            drop(std::hint::black_box(vec![0_u8; HUGE]));
        }
        // Other tests allocate and free memory meanwhile, but not 2 GiB of it.
        assert!(size("VmSize:") < before + (1 << 20));
    }

    #[test]
    fn more_memory_than_addresses_is_refused_without_a_crash() {
        let mut memory: Vec<u8> = Vec::new();
        assert!(memory.try_reserve_exact(isize::MAX as usize - HUGE).is_err());
        assert!(memory.try_reserve_exact(1 << 60).is_err());
    }

    #[test]
    fn an_alignment_larger_than_a_huge_page_is_kept() {
        #[repr(align(4194304))]
        struct Wide {
            _byte: u8,
        }
        let wide: Vec<Wide> = Vec::with_capacity(1);
        assert_eq!(wide.as_ptr().addr() % align_of::<Wide>(), 0);
    }

    /// Runs in a process of its own, because it affects every later large allocation.
    #[test]
    fn reserved_huge_pages_are_used_as_long_as_there_are_any() {
        in_own_process(
            "dpdk::memory::tests::reserved_huge_pages_are_used_as_long_as_there_are_any",
            || {
                let free = || -> usize {
                    let directory = "/sys/kernel/mm/hugepages/hugepages-2048kB";
                    let read = |name| fs::read_to_string(format!("{directory}/{name}")).unwrap();
                    let number = |name| read(name).trim().parse::<usize>().unwrap();
                    number("free_hugepages") - number("resv_hugepages")
                };
                use_reserved();
                let before = free();
                let some = vec![0_u64; 2 * HUGE / 8];
                let reserved = kib(&smaps(&some), "Private_Hugetlb:");
                // Fewer than two, unless another process has just taken them.
                assert_eq!(reserved, if before >= 2 { 4 << 10 } else { 0 });
                // Allocate more than the huge pages that exist: the memory must be usable all the
                // same.
                let (mut many, mut held) = (vec![some], 0);
                while RESERVED.load(Ordering::Relaxed) {
                    assert!(held <= before, "more huge pages than there are");
                    many.push(Vec::with_capacity(8 * HUGE / 8));
                    held += 8;
                }
                let last = many.last_mut().unwrap();
                last.push(7);
                assert_eq!(kib(&smaps(last), "Private_Hugetlb:"), 0);
                drop(many);
                assert!(free() + 8 >= before);
            },
        );
    }
}
