//! Single probes against real peers: sockets that follow a script, nginx, openssl, and the kernel.
//!
//! Needs root for network namespaces and for echo requests, and nginx and openssl.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod any;
mod checks;
mod cost;
mod datagrams;
mod http;
mod network;
mod nginx;
mod script;
mod tcp;
mod tls;
