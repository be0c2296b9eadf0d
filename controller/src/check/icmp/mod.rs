//! What routers and hosts say of tunnels: ICMP errors about packets that the forwarder has sent to backends.
//!
//! They explain why a check through a tunnel times out. They decide nothing: anybody can send them, and hosts send few.
//!
//! | file | what |
//! |---|---|
//! | `quoted.rs` | pure: from the bytes of an error to what it says of a tunnel |
//! | `listen.rs` | the thread that receives errors |

mod listen;
mod quoted;

pub use listen::{Listener, listen};
pub use quoted::{Cause, TunnelError};
