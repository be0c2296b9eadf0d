//! The CPU that a build is for, and the check that this is one.
//!
//! `.cargo/config.toml` has the programs built for x86-64-v3 with AES. On a lesser CPU they would die by
//! SIGILL, sooner or later and without a word. A program that uses this crate (`use guideway_baseline
//! as _` is enough) says instead what is missing and how to build it, and ends with status 1.
//!
//! The check is C, in `check.c`, and runs before `main` and all constructors: all Rust code is built for that
//! CPU, what comes before `main` with it, and the standard library's macro for such questions answers the
//! constant `true` for a feature that the build assumes. `dpdk-sys` links a second check, for the CPU that
//! libdpdk is built for.
#![forbid(unsafe_code)]

/// What this build needs: `an x86-64-v3 CPU with AES`, or `any x86-64 CPU`.
pub const NEEDED_CPU: &str = env!("GUIDEWAY_NEEDED_CPU");
