//! What the node's kernel does to answers, in network namespaces.
//!
//! This needs root. Without it the tests say so and pass; as root, a namespace that cannot be made is a failure.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[expect(dead_code, reason = "the tests of the routes use the rest")]
#[path = "../routes/space.rs"]
mod space;

mod filters;
