//! The command line of `guideway-controller`.
//!
//! | file | what |
//! |---|---|
//! | `arguments.rs` | the options |
//! | `run.rs` | the start and the end |
//! | `follow.rs` | what follows from the manager's view: the log's level and the status for systemd |

mod arguments;
mod follow;
mod run;

use std::process::ExitCode;

use guideway_chassis::log;
use guideway_output::report;

use arguments::Arguments;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let arguments: Arguments = guideway_output::arguments();
    let log = match log::start() {
        Ok(log) => log,
        Err(error) => {
            report(format_args!("guideway-controller: cannot start the log: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let code = match run::run(&arguments, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.say(&format!("guideway-controller: {error:#}"));
            ExitCode::FAILURE
        }
    };
    log.flush();
    code
}
