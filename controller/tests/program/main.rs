//! The program from outside, in a network namespace, with a forwarder that is played.
//!
//! What is installed is read by iproute2, and requests go through the protocol's client. This needs root. Without it
//! the tests say so and pass; as root, a namespace that cannot be made is a failure.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[expect(dead_code, reason = "the tests of the routes use the rest")]
#[path = "../routes/space.rs"]
mod space;

mod bird;
mod checks;
mod forwarder;
mod hostile;
mod life;
mod orders;
mod rig;
