//! The thread of the routes against the kernel, in network namespaces.
//!
//! What is installed is read by iproute2, and never by the code under test. This needs root. Without it the tests say so
//! and pass; as root, a namespace that cannot be made is a failure.
#![expect(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout, reason = "tests")]

mod kept;
mod monitor;
mod networkd;
mod places;
mod probes;
mod space;
mod speed;
