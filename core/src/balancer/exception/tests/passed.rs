//! Packets that the worker that polls passes on to the owners of their flows.

use super::super::super::sample::Sample;
use super::workers::{CLIENTS, Setup, Workers};
use super::{buffer, carried, to_service};
use crate::stats::verdict::Verdict;

const STEERS: Setup = Setup { workers: 3, steers: true, ..Setup::PLAIN };

/// The frames of 20 flows.
fn frames(change: impl Fn(&mut Sample)) -> Vec<Vec<u8>> {
    let frame = |flow| {
        let mut sample = to_service(flow, 0);
        change(&mut sample);
        sample.frame()
    };
    (0..20).map(frame).collect()
}

#[test]
fn every_kind_of_packet_is_forwarded_by_its_owner_as_by_one_worker() {
    let plain = frames(|_| {});
    let tagged = frames(|sample| sample.tags = vec![(0x8100, 7)]);
    let mixed: Vec<_> = plain.iter().zip(&tagged).flat_map(|(a, b)| [a, b]).cloned().collect();
    for frames in [plain, tagged, mixed] {
        let (mut one, mut three) = (Workers::new(Setup::PLAIN), Workers::new(STEERS));
        for frames in frames.chunks(10) {
            let receive = |workers: &mut Workers, worker| {
                let sent = workers.receive(worker, CLIENTS, frames.iter().map(|f| buffer(f)));
                let mut carried: Vec<_> = sent.iter().map(carried).collect();
                carried.sort();
                carried
            };
            for worker in 0..3 {
                let expected = receive(&mut one, 0);
                assert_eq!(expected.len(), frames.len());
                assert_eq!(receive(&mut three, worker), expected, "worker {worker}");
            }
        }
    }
}

/// What the worker that polls has found out does not hold by the tables that the owner has.
#[test]
fn tables_that_come_meanwhile_decide() {
    let mut passed = 0;
    for frame in frames(|_| {}) {
        let mut workers = Workers::new(STEERS);
        workers.reload_meanwhile(|setup| setup.tcp_port = 81);
        let _ = workers.receive(0, CLIENTS, [buffer(&frame)]);
        let is_own = workers.meanwhile.is_some();
        let is_forwarded = workers.verdicts() == [(Verdict::Forwarded, 1)];
        assert_eq!(is_forwarded, is_own, "{:?}", workers.verdicts());
        passed += u32::from(!is_own);
    }
    assert!((5..20).contains(&passed), "{passed} of 20 flows are another worker's");
}
