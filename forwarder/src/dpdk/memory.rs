//! The memory of tables: huge pages for what is large, where the machine allows them.
//!
//! A flow table of a million flows has 16 MiB, which is 4096 ordinary pages and 8 huge ones: with ordinary
//! ones nearly every packet misses the TLB as well as the cache. Tables know nothing of that: they are
//! boxes and vectors, and this is the process's allocator, which gives whatever has 2 MiB or more a
//! mapping of its own, in whole huge pages:
//!
//! - transparent ones, which the kernel is asked for; it refuses only if it is told `never`,
//! - or reserved ones (hugetlbfs's), if the appliance allows it ([`use_reserved`]) and as long as there are
//!   any: DPDK's packets come first, so that it does so only where transparent ones are off, and
//!   not before DPDK has its memory,
//! - or else ordinary ones.
//!
//! A page is put on the NUMA node of the thread that first writes to it. Memory that is asked for as zeroed
//! is so from the kernel, and is faulted in at once by the thread that asks: each page is written
//! once, and no packet waits for the kernel to clear 2 MiB.
//!
//! Everything smaller goes to the system's allocator. Behind each mapping lies a page without access, so
//! that the kernel does not join it with the next, and `/proc` tells of each by itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{self, Advice, MapFlags, MprotectFlags, ProtFlags};

/// A huge page, and what is large enough to get its own.
pub const HUGE: usize = 2 << 20;
/// The page without access: a page of the largest size that the kernel may be built with.
const GUARD: usize = 64 << 10;

/// Whether reserved huge pages may be taken.
static RESERVED: AtomicBool = AtomicBool::new(false);

/// Lets large allocations from now on take reserved huge pages rather than transparent ones, until there
/// is none left.
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

// SAFETY: what is not large is the system allocator's affair from beginning to end, for `is_large` says the
// same of a layout each time. What is large is a fresh mapping of at least the layout's size at a
// multiple of `HUGE`, which is a multiple of its alignment; it is unmapped when it is freed and not before.
// Nothing here panics.
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
            // SAFETY: the caller gives back what `map` gave for this layout, and uses it no more.
            return unsafe { unmap(memory, layout.size()) };
        }
        // SAFETY: it came from the system's allocator by this layout; the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size, with the alignment, makes a layout.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(layout), is_large(new)) {
            (false, false) => {
                // SAFETY: it came from the system's allocator; the caller's promise is passed on.
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
    /// As for `realloc`.
    #[cold]
    unsafe fn moved(&self, memory: *mut u8, old: Layout, new: Layout) -> *mut u8 {
        // SAFETY: the caller promises that the layout is one, and not of size 0.
        let to = unsafe { self.alloc(new) };
        if !to.is_null() {
            // SAFETY: both are allocations of at least so many bytes, and different ones.
            unsafe { ptr::copy_nonoverlapping(memory, to, old.size().min(new.size())) };
            // SAFETY: the caller gives the old one up.
            unsafe { self.dealloc(memory, old) };
        }
        to
    }
}

/// The bytes that are mapped for so many.
fn mapped(size: usize) -> usize {
    // No overflow: a layout's size is at most `isize::MAX`.
    size.next_multiple_of(HUGE)
}

/// Maps memory in whole huge pages, all zero; null if there is none.
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
        // There are not enough. What a failure has left of the addresses is not certain, so they are not
        // used again, nor given back; it happens once.
        RESERVED.store(false, Ordering::Relaxed);
    }
    let Some(at) = reserve(length) else { return ptr::null_mut() };
    // SAFETY: a part of a mapping that nobody else knows.
    let opened = unsafe { mm::mprotect(at, length, MprotectFlags::READ | MprotectFlags::WRITE) };
    if opened.is_err() {
        // SAFETY: what was mapped, and nobody uses.
        unsafe { unmap(at.cast(), length) };
        return ptr::null_mut();
    }
    // SAFETY: this advice changes no content. A kernel without huge pages refuses, and that is all.
    let _ = unsafe { mm::madvise(at, length, Advice::LinuxHugepage) };
    at.cast()
}

fn read_write() -> ProtFlags {
    ProtFlags::READ | ProtFlags::WRITE
}

/// Addresses for so many bytes from a multiple of `HUGE` on, and the guard behind them, without access.
fn reserve(length: usize) -> Option<*mut c_void> {
    let whole = length.checked_add(HUGE + GUARD)?;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a mapping where the kernel finds place disturbs none.
    let start =
        unsafe { mm::mmap_anonymous(ptr::null_mut(), whole, ProtFlags::empty(), flags) }.ok()?;
    let before = start.cast::<u8>().align_offset(HUGE);
    let after = HUGE - before;
    // Neither is an error if it fails: addresses are lost, no memory.
    if before > 0 {
        // SAFETY: the beginning of what was just mapped, in whole pages, as both its ends are.
        let _ = unsafe { mm::munmap(start, before) };
    }
    let at = start.wrapping_byte_add(before);
    if after > 0 {
        // SAFETY: the end of what was just mapped, in whole pages.
        let _ = unsafe { mm::munmap(at.wrapping_byte_add(length + GUARD), after) };
    }
    Some(at)
}

/// Has the kernel fault memory in, zeroed. One that cannot (before Linux 5.14) does so when it is used.
fn populate(memory: *mut u8, size: usize) {
    // SAFETY: a mapping of at least this size, not yet used; the advice changes no content.
    let _ = unsafe { mm::madvise(memory.cast(), mapped(size), Advice::LinuxPopulateWrite) };
}

/// Gives a mapping back, with its guard.
///
/// # Safety
/// `map` or `reserve` gave it for this size, and nobody uses it.
#[cold]
unsafe fn unmap(memory: *mut u8, size: usize) {
    // SAFETY: as the caller says. It can fail only for want of memory for the kernel's own list of mappings;
    // then it stays mapped, which harms nobody.
    let _ = unsafe { mm::munmap(memory.cast(), mapped(size) + GUARD) };
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dpdk::testing::in_own_process;

    /// The lines of `/proc/self/smaps` about the mapping that begins with this allocation.
    fn told(memory: &[u64]) -> Vec<String> {
        let start = format!("{:x}-", memory.as_ptr().addr());
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&start));
        let head = lines.next().expect("a mapping of its own").to_owned();
        let is_head = |line: &&str| !line.split(' ').next().unwrap().ends_with(':');
        let rest = lines.take_while(|line| !is_head(line)).map(str::to_owned);
        std::iter::once(head).chain(rest).collect()
    }

    fn kib(told: &[String], key: &str) -> usize {
        let line = told.iter().find_map(|line| line.strip_prefix(key));
        line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn length(told: &[String]) -> usize {
        let (start, end) = told[0].split(' ').next().unwrap().split_once('-').unwrap();
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
            let told = told(memory);
            assert_eq!(length(&told), 4 << 20);
            // Zeroed memory is there at once, and all on huge pages if there is none against it.
            assert_eq!(kib(&told, "Rss:"), 4 << 10);
            let mode = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap();
            if !mode.contains("[never]") {
                assert!(kib(&told, "AnonHugePages:") > 0, "{told:#?}");
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
            assert!(memory.iter().enumerate().all(|(place, &n)| n == place as u64));
        }
        memory.extend(10..1 << 20);
        assert!(memory.iter().enumerate().all(|(place, &n)| n == place as u64));
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
        // Other tests take and give back memory meanwhile, but not 2 GiB of it.
        assert!(size("VmSize:") < before + (1 << 20));
    }

    #[test]
    fn more_memory_than_addresses_is_refused_and_no_crash() {
        let mut memory: Vec<u8> = Vec::new();
        assert!(memory.try_reserve_exact(isize::MAX as usize - HUGE).is_err());
        assert!(memory.try_reserve_exact(1 << 60).is_err());
    }

    #[test]
    fn an_alignment_that_a_huge_page_has_not_is_kept_too() {
        #[repr(align(4194304))]
        struct Wide {
            _byte: u8,
        }
        let wide: Vec<Wide> = Vec::with_capacity(1);
        assert_eq!(wide.as_ptr().addr() % align_of::<Wide>(), 0);
    }

    /// For itself, because every large allocation after it is affected.
    #[test]
    fn reserved_huge_pages_are_taken_as_long_as_there_are_any() {
        in_own_process(
            "dpdk::memory::tests::reserved_huge_pages_are_taken_as_long_as_there_are_any",
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
                let reserved = kib(&told(&some), "Private_Hugetlb:");
                // Fewer than two, unless somebody else has just taken them.
                assert_eq!(reserved, if before >= 2 { 4 << 10 } else { 0 });
                // More than there are: it must be memory all the same.
                let (mut many, mut held) = (vec![some], 0);
                while RESERVED.load(Ordering::Relaxed) {
                    assert!(held <= before, "more huge pages than there are");
                    many.push(Vec::with_capacity(8 * HUGE / 8));
                    held += 8;
                }
                let last = many.last_mut().unwrap();
                last.push(7);
                assert_eq!(kib(&told(last), "Private_Hugetlb:"), 0);
                drop(many);
                assert!(free() + 8 >= before);
            },
        );
    }
}
