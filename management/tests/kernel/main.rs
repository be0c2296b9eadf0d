//! The kernel's side, tried with a real kernel: each test has network namespaces of its own.
//!
//! This needs root. Without it the tests say so and pass; as root, a namespace that cannot be made is a failure.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod devices;
mod neighbors;
mod on_link;
mod rig;
mod routes;
mod space;
mod speed;
mod storm;
