//! The kernel's links, addresses, routes and neighbours.

pub mod netlink;
