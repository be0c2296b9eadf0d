//! Tests of an mbuf from a pool, and of frames that a device delivers.

use super::*;
use crate::dpdk::Burst;
use crate::dpdk::testing::{DATA_ROOM, capture, device, eal, packets, pool, settings};

/// The headroom that DPDK leaves before a frame by default.
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
    // Headroom and tailroom do not share bytes: both can be used up.
    assert_eq!(mbuf.push_front(HEADROOM).unwrap().len(), room + HEADROOM);
}

#[test]
fn a_frame_is_truncated_but_never_made_longer() {
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

#[test]
fn the_front_of_a_frame_is_replaced() {
    let pool = pool(31);
    let mut burst = packets(&pool, 32 - 1);
    let mbuf = burst.get_mut(30).unwrap();
    mbuf.append(29).unwrap().fill(7);
    let before = mbuf.bytes().to_vec();
    let to_border = HEADROOM + 14;
    for (from, to, length) in [
        (14, 38, 47),
        (61, 38, 28),
        (usize::MAX, 38, 28),
        (14, 38, 27),
        (14, BEFORE + 1, 46),
        (14, usize::MAX, 46),
        (14, 38, u16::MAX),
    ] {
        assert!(mbuf.reframe(from, to, length).is_none(), "{from} {to} {length}");
        assert_eq!(mbuf.bytes(), before, "a refusal changes nothing");
    }
    let border = mbuf.reframe(14, BEFORE, 30).unwrap();
    assert_eq!(border[BEFORE..], before[14..14 + BEHIND]);
    border[..BEFORE].fill(9);
    assert_eq!((mbuf.data_len(), mbuf.frame_len()), (BEFORE + 30, BEFORE + 30));
    assert_eq!(mbuf.bytes(), [vec![9; BEFORE], before[14..44].to_vec()].concat());
    assert!(mbuf.reframe(BEFORE - 1 - (to_border - BEFORE), 14, 30).is_none(), "no room before it");
}

/// Sets the same fields as `rte_pktmbuf_clone` and `rte_pktmbuf_chain`.
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
        assert!(mbuf.reframe(2, 40, 28).is_none());
        assert!(mbuf.is_shared() && mbuf.is_contiguous());
    }
    mbuf.pretend(1, 1);
    good(mbuf);

    // `RTE_MBUF_F_EXTERNAL` and `RTE_MBUF_F_INDIRECT`, by DPDK's documentation.
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
fn an_rss_hash_counts_only_with_its_flag() {
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
    let field = TimestampField::lookup(eal()).unwrap();

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

/// Only a frame of one buffer with one owner is read at its head and wrapped.
#[test]
fn several_buffers_and_several_owners_show() {
    let pool = pool(31);
    let mut burst = packets(&pool, 20);
    let mbuf = burst.get_mut(19).unwrap();
    for (buffers, owners) in [(1, 1), (2, 1), (1, 2)] {
        mbuf.pretend(buffers, owners);
        assert_eq!((mbuf.is_contiguous(), mbuf.is_shared()), (buffers == 1, owners == 2));
        let is_plain = (buffers, owners) == (1, 1);
        assert_eq!(mbuf.head::<20>().is_some(), is_plain);
        assert_eq!(mbuf.wrap::<14>(6).is_some(), is_plain);
    }
    mbuf.pretend(1, 1);
}
