//! The thread of the routes against the kernel, in network namespaces.
//!
//! What is installed is read by iproute2, and never by the code under test.

mod kept;
mod monitor;
mod networkd;
mod places;
mod space;
mod speed;
