//! No two workers write one cache line of what connects them.
//!
//! The lines of a ring are in DPDK's memory (`dpdk/ring.rs`), counters and flow tables are the core's, and a worker's own
//! state is on its stack.

use std::collections::HashMap;
use std::ops::Range;

use super::*;
use crate::dpdk::testing;

/// Bytes that a CPU may fetch together: two cache lines.
const PAIR: usize = 128;

fn addresses<T>(held: &[T]) -> Range<usize> {
    let Range { start, end } = held.as_ptr_range();
    start.addr()..end.addr()
}

/// What a worker writes of its connections.
fn written(wiring: &Wiring) -> Vec<Range<usize>> {
    let Wiring { inputs, relays, outputs, siblings, kernel, .. } = wiring;
    let mut written = vec![
        addresses(inputs),
        addresses(relays),
        addresses(outputs),
        addresses(siblings),
        addresses(&kernel.relays),
        addresses(&kernel.punts.rings),
    ];
    let owners = inputs.iter().filter_map(|input| match &input.kind {
        InputKind::Queue { owners: Some(owners), .. } => Some(addresses(&owners.outputs)),
        _ => None,
    });
    written.extend(owners);
    written.retain(|bytes| !bytes.is_empty());
    written
}

#[test]
fn no_two_workers_write_one_line_of_their_connections() {
    const WORKERS: usize = 5;
    let mut connections = Connections {
        eal: testing::eal(),
        lossless: true,
        record_sent: None,
        nodes: vec![None; WORKERS],
        workers: (0..WORKERS).map(|_| Wiring::default()).collect(),
    };
    connections.connect_siblings().unwrap();
    let pool = testing::pool(31);
    for port in 0..3 {
        // As if worker 0 had the only queue of each port. The rings to the owners of flows lie as those of
        // `siblings` do.
        for worker in 1..WORKERS {
            let relay = connections.relay(PortIndex(port), worker, 0).unwrap();
            connections.workers[worker].outputs.push(Output::new(relay));
        }
        connections.owners(PortIndex(port), 0, 0, &pool).unwrap();
    }
    let mut owners = HashMap::new();
    for (worker, wiring) in connections.workers.iter().enumerate() {
        let written = written(wiring);
        assert!(written.len() >= 2, "inputs and siblings at least");
        for bytes in written {
            for line in (bytes.start / PAIR)..bytes.end.div_ceil(PAIR) {
                let other = owners.insert(line, worker).unwrap_or(worker);
                assert_eq!(other, worker, "line {line:#x} of {bytes:x?}");
            }
        }
    }
}
