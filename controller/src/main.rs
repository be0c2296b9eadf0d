//! The `guideway-controller` program.
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

mod program;

use std::process::ExitCode;

// Checks before main that the CPU has the features that the program was built for.
use guideway_baseline as _;

fn main() -> ExitCode {
    program::main()
}
