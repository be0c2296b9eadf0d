//! The `guideway` program.
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

mod program;

use std::process::ExitCode;

// Checks before main that the CPU is what this was built for.
use guideway_baseline as _;

fn main() -> ExitCode {
    program::main()
}
