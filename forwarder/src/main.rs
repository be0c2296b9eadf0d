//! The `guideway` program.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program answers on its standard output")]

mod program;

use std::process::ExitCode;

// Checks before main that the CPU is what this was built for.
use guideway_baseline as _;

fn main() -> ExitCode {
    program::main()
}
