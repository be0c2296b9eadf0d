//! A worker: one thread, pinned to one CPU when live, that forwards packets from its inputs to their
//! backends.
//!
//! A worker owns its queues, its flow table and its counters, is the only writer of the latter two,
//! and takes no lock. Each [round](Worker::run) polls all inputs. A burst goes through the balancer's
//! [pipeline], which says where each packet goes, and `Outputs`
//! carries that out.
//!
//! A port may have fewer receive queues than there are workers. Then the worker that polls a queue
//! hands each packet to the [owner](Owners) of its flow, over a ring with one producer and one
//! consumer. A port may also have fewer transmit queues. Then packets travel over a ring to the
//! worker that has a transmit queue. Packets for the kernel travel over rings to the thread
//! [`kernel`](crate::kernel), and those from it over a ring to a worker that has a transmit queue. Packets
//! of the node's probes come over a ring to one worker, which encapsulates them. If
//! a ring is full, the packet is dropped and counted. In a replay (`lossless`) the worker receives no
//! more of the capture until the ring has room.

mod bench;
mod clock;
mod command;
mod handoff;
mod idle;
mod io;
mod kernel;
mod outputs;
mod owners;
mod ring_queue;
mod rounds;

pub use bench::BenchWorker;
pub use clock::Clock;
pub use command::Command;
pub use idle::Idle;
pub use io::{Input, InputKind, Output, OutputKind, Relay};
pub use kernel::{KernelEnds, KernelRelay, ProbeRelay, Punts};
pub use owners::{OwnerOutput, Owners};
pub use ring_queue::RingQueue;
pub use rounds::{FlowListing, Worker};

use guideway_core::balancer::{burst, exception, pipeline};

use crate::dpdk::{Burst, Mempool, OwnedMbuf};
use outputs::Outputs;

/// A worker's state for exceptions.
pub type Exceptions = exception::Exceptions<OwnedMbuf, Mempool>;
type Pipeline = pipeline::Pipeline<OwnedMbuf, Mempool>;
type Round<'a> = pipeline::Round<'a, Outputs<'a>>;
type Batch = burst::Batch<Burst>;
