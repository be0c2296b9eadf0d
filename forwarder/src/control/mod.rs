//! The control plane: the configuration, its publication to the workers, and the control socket.
#![forbid(unsafe_code)]

pub mod config;
pub mod daemon;
mod id_allocator;
pub mod publication;
pub mod routing;
pub mod server;
