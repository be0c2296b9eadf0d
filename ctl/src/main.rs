//! `guidewayctl`: the command line of Guideway. One command is one request over the control socket.
//!
//! The program links neither the forwarder nor DPDK. Results go to stdout, and errors, warnings and notes to
//! stderr. The exit codes are those of [`Error::exit_code`].
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

mod arguments;
mod client;
mod error;
mod explain;
mod render;
mod table;
mod terminal;

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use guideway_api::{FlowFilter, MAX_CONFIGURATION, Request, Response};
// Checks before `main` that the CPU has what this build needs.
use guideway_baseline as _;
use guideway_output::{print, report};

use arguments::{
    Arguments, BackendCommand, Command, ConfigCommand, FlowCommand, InterfaceCommand,
    NeighborCommand, Output, PortCommand, PuntCommand, RouteCommand, ServiceCommand, WorkerCommand,
};
use client::Client;
use error::Error;

fn main() -> ExitCode {
    match run(&guideway_output::arguments()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("error: {}\n", terminal::line(&error.to_string()));
            for detail in error.details() {
                text += &format!("  {}\n", terminal::line(detail));
            }
            report(text);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    if let Command::Completions { shell } = arguments.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "guidewayctl", &mut script);
        return print(script).map_err(Error::Output);
    }
    if let Command::Config(ConfigCommand::Explain { key }) = &arguments.command {
        let text = explain::explain(key.as_deref(), arguments.output)?;
        return print(text).map_err(Error::Output);
    }
    let request = request(&arguments.command)?;
    let mut response = Client::connect(&arguments.socket, arguments.timeout())?.send(&request)?;
    narrow(&mut response, &arguments.command)?;
    let rendered = render::render(&response, arguments.output);
    let notes: String =
        rendered.notes.iter().map(|note| format!("{}\n", terminal::line(note))).collect();
    report(notes);
    // Only a terminal needs control characters removed.
    let is_exact = !io::stdout().is_terminal();
    let text = match arguments.output {
        _ if is_exact => rendered.text,
        Output::Table => terminal::lines(&rendered.text),
        Output::Json => terminal::json(&rendered.text),
    };
    print(text).map_err(Error::Output)
}

/// The request of a command.
fn request(command: &Command) -> Result<Request, Error> {
    Ok(match command {
        Command::Status => Request::Status {},
        Command::Service(ServiceCommand::List) => Request::ServiceList {},
        Command::Backend(BackendCommand::List { .. }) => Request::BackendList {},
        Command::Worker(WorkerCommand::List) => Request::WorkerList {},
        Command::Port(PortCommand::List) => Request::PortList {},
        Command::Port(PortCommand::Stats { extended, .. }) => {
            Request::PortStats { extended: *extended }
        }
        Command::Interface(InterfaceCommand::List) => Request::InterfaceList {},
        Command::Neighbor(NeighborCommand::List) => Request::NeighborList {},
        Command::Route(RouteCommand::Show { backend }) => {
            Request::RouteShow { backend: backend.backend.clone(), pool: backend.pool.clone() }
        }
        Command::Punt(PuntCommand::List) => Request::PuntList {},
        Command::Stats { .. } => Request::Stats {},
        Command::Config(ConfigCommand::Show) => Request::ConfigShow {},
        Command::Config(ConfigCommand::Check { file }) => {
            Request::ConfigCheck { text: read(file)? }
        }
        Command::Config(ConfigCommand::Apply { file }) => {
            Request::ConfigApply { text: read(file)?, reason: None }
        }
        Command::Config(ConfigCommand::Reload) => Request::ConfigReload { reason: None },
        Command::Flow(FlowCommand::List { worker, backend, pool, state, flow, limit }) => {
            Request::FlowList(FlowFilter {
                worker: *worker,
                backend: backend.clone(),
                pool: pool.clone(),
                state: *state,
                flow: flow.clone(),
                limit: *limit,
            })
        }
        Command::Completions { .. } | Command::Config(ConfigCommand::Explain { .. }) => {
            unreachable!("needs no daemon")
        }
    })
}

/// Reads a configuration, from stdin if `path` is `-`. Stops after the longest configuration, because the
/// file may be an endless device.
fn read(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::File { path: path.into(), source };
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    source.take(MAX_CONFIGURATION as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_CONFIGURATION {
        return Err(Error::TooLong { path: path.into() });
    }
    String::from_utf8(bytes).map_err(|error| Error::NotText {
        path: path.into(),
        line: error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count()
            + 1,
    })
}

/// Applies the filters that the command has and the protocol does not.
fn narrow(response: &mut Response, command: &Command) -> Result<(), Error> {
    match (response, command) {
        (
            Response::Backends(backends),
            Command::Backend(BackendCommand::List { pool: Some(pool) }),
        ) => {
            backends.retain(|backend| backend.pool == *pool);
            if backends.is_empty() {
                return Err(Error::NoPool { pool: pool.clone() });
            }
        }
        (Response::PortStats(ports), Command::Port(PortCommand::Stats { nonzero, port, .. })) => {
            if let Some(port) = port {
                ports.retain(|stats| stats.name == *port);
                if ports.is_empty() {
                    return Err(Error::NoPort { port: port.clone() });
                }
            }
            let counts = ports.iter_mut().flat_map(|port| [&mut port.counters, &mut port.extended]);
            counts.filter(|_| *nonzero).for_each(|counts| counts.retain(|_, count| *count != 0));
        }
        (Response::Stats(stats), Command::Stats { nonzero: true }) => {
            stats.verdicts.retain(|_, count| *count != 0);
            stats.events.retain(|_, count| *count != 0);
        }
        _ => {}
    }
    Ok(())
}
