//! The thread of BIRD against real BIRDs, in network namespaces: a node with the BIRD that it configures, and a router
//! with one that the test configures. What the router has learnt is read there, and never by the code under test. This
//! needs root and Debian's package bird2.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod command;
mod mistakes;
mod network;
mod running;
mod sessions;
mod settings;
mod told;
