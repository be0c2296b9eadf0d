//! The CPU that a build is for, and a check at start-up that this machine has such a CPU.
//!
//! `.cargo/config.toml` builds the programs for x86-64-v3 with AES. On an older CPU they would end by SIGILL,
//! sooner or later and without a message. A program that uses this crate (`use guideway_baseline as _` is
//! enough) prints what is missing and how to build it, and ends with status 1.
//!
//! The check is in C (`check.c`) and runs before `main` and all constructors. It cannot be in Rust: all Rust
//! code, also that before `main`, is built for the newer CPU, and `is_x86_feature_detected!` is the constant
//! `true` for a feature that the build assumes. `dpdk-sys` links a second check, for the CPU that libdpdk is
//! built for.
#![forbid(unsafe_code)]

/// What this build needs: `an x86-64-v3 CPU with AES`, or `any x86-64 CPU`.
pub const NEEDED_CPU: &str = env!("GUIDEWAY_NEEDED_CPU");
