//! Raw bindings to the part of DPDK that Guideway uses.
//!
//! The workspace's `build.rs`, which has the allowlist, generates the bindings from `wrapper.h`. No
//! function here is safe to call without reading DPDK's documentation. `guideway::dpdk` is the safe
//! layer.
#![no_std]

#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    reason = "generated code, in C's names"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;
