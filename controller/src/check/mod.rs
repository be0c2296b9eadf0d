//! Checks of backends: probes, and what their results say of the backends' states.
//!
//! | module | what |
//! |---|---|
//! | `probe` | one probe of one backend |
//! | `target.rs` | what is probed: one target for all pools that share its probes |

pub mod probe;
//! | `plan.rs` | what a configuration has to be probed |
//! | `state/` | pure: from results to the states of backends |
//! | `target.rs` | what is probed: one target for all pools that share its probes |

mod plan;
mod state;
mod target;

pub use state::{Change, Earlier, FreezeCause, Pace, ProbeResult, States, Wanted};
//! | `icmp/` | ICMP errors about packets through tunnels |
//! | `path.rs` | what on the node keeps answers from probes |
//! | `target.rs` | what is probed: one target for all pools that share its probes |

pub mod icmp;
mod path;
mod target;

pub use path::strict_filters;
//! | `snapshot.rs` | what listings and metrics show |
//! | `target.rs` | what is probed: one target for all pools that share its probes |

mod snapshot;
mod target;

pub use snapshot::{BUCKETS, Histogram, Snapshot};
pub use target::{Member, Path, Plan, PoolPlan, Target, TargetKey, To};
