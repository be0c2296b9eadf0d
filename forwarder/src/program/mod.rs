//! The command line of `guideway`.

mod check;
mod config;
mod load;
mod replay;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use guideway_output::report;

const AFTER_HELP: &str = "\
Environment:
  GUIDEWAY_LOG  The least severe level that `run` and `replay` log: off, error, warn, info or debug [default: info]

Exit codes:
  0  done: `run` was stopped by a signal, `check` found no mistake
  1  failed, or `check` found mistakes: stderr says more
  2  usage";

/// A layer-4 load balancer: it spreads the packets for virtual addresses over backends, with DPDK
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the appliance until SIGTERM or SIGINT; SIGHUP reloads its configuration
    Run {
        /// The configuration file
        #[arg(long, value_name = "F")]
        config: PathBuf,
    },
    /// Validate a configuration, without DPDK, root or a NIC
    Check {
        /// The configuration file
        #[arg(long, value_name = "F")]
        config: PathBuf,
    },
    /// Print what a configuration may have
    #[command(subcommand)]
    Config(config::Command),
    /// Run the appliance over captures and count what becomes of every packet
    Replay(replay::Arguments),
}

/// Runs the command of the command line.
pub(crate) fn main() -> ExitCode {
    let arguments: Arguments = guideway_output::arguments();
    let log = match guideway_chassis::log::start() {
        Ok(log) => log,
        Err(error) => {
            report(format_args!("guideway: cannot start the log: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let result = match arguments.command {
        Command::Run { config } => run::run(&config, &log),
        Command::Check { config } => check::run(&config),
        Command::Config(command) => config::run(&command),
        Command::Replay(arguments) => replay::run(&arguments),
    };
    let code = result.unwrap_or_else(|error| {
        log.say(&format!("guideway: {error:#}"));
        ExitCode::FAILURE
    });
    log.flush();
    code
}
