//! The `guideway` program.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program answers on its standard output")]

mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    program::main()
}
