//! The command line of `guideway`.

#[cfg(feature = "dpdk")]
mod replay;
#[cfg(feature = "dpdk")]
mod run;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use guideway::control::config::{self, Parsed};
use tracing_subscriber::EnvFilter;

/// A layer-4 load balancer on DPDK.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the appliance until SIGTERM or SIGINT; SIGHUP reloads its configuration
    #[cfg(feature = "dpdk")]
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
    /// Run the appliance over captures and count what becomes of every packet
    #[cfg(feature = "dpdk")]
    Replay(replay::Arguments),
}

/// Runs what the command line asks for.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_env_filter(
            EnvFilter::try_from_env("GUIDEWAY_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .init();
    let result = match arguments.command {
        #[cfg(feature = "dpdk")]
        Command::Run { config } => run::run(&config),
        Command::Check { config } => check(&config),
        #[cfg(feature = "dpdk")]
        Command::Replay(arguments) => replay::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("guideway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `guideway check`
fn check(path: &Path) -> Result<ExitCode> {
    let Some((_, parsed)) = load(path)? else { return Ok(ExitCode::FAILURE) };
    for warning in &parsed.warnings {
        eprintln!("{}: warning: {warning}", path.display());
    }
    let configuration = &parsed.configuration;
    println!(
        "{}: valid; ports: {}, services: {}, pools: {}, backends: {}",
        path.display(),
        configuration.ports.len(),
        configuration.services.len(),
        configuration.pools.len(),
        configuration.pools.iter().map(|pool| pool.backends.len()).sum::<usize>(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Reads and parses a configuration; none if it has mistakes, which are printed then.
fn load(path: &Path) -> Result<Option<(String, Parsed)>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    match config::parse(&text) {
        Ok(parsed) => Ok(Some((text, parsed))),
        Err(mistakes) => {
            for mistake in mistakes.iter() {
                eprintln!("{}: {mistake}", path.display());
            }
            let count = mistakes.iter().count();
            let noun = if count == 1 { "mistake" } else { "mistakes" };
            eprintln!("{}: {count} {noun}", path.display());
            Ok(None)
        }
    }
}
