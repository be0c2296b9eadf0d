//! Shared by the benchmarks without I/O: packets without a device, a worker without a thread, and repetition
//! of a measurement until its spread is small.

pub mod clock;
#[path = "../../part/mod.rs"]
pub mod part;
pub mod sample;
pub mod source;
pub mod stage;
pub mod subject;
#[path = "../../traffic/mod.rs"]
#[expect(missing_docs, reason = "a module of other benchmarks too, which explains what it must")]
pub mod traffic;
