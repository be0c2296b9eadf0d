//! What the network says of tunnels, and what the node's kernel does to answers, by real kernels in network namespaces.
//!
//! This needs root. Without it the tests say so and pass; as root, a namespace that cannot be made is a failure.
#![expect(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout, reason = "tests")]

#[expect(dead_code, reason = "the tests of the routes use the rest")]
#[path = "../routes/space.rs"]
mod space;

mod errors;
mod filters;
mod outer;
mod router;
