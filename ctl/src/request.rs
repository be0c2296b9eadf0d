//! The request of each command, and what the command leaves out of the response.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use guideway_api::{FlowFilter, MAX_CONFIGURATION, Request, Response};

use crate::arguments::{
    BackendCommand, CheckCommand, Command, ConfigCommand, FlowCommand, InterfaceCommand,
    LogCommand, NeighborCommand, PinCommand, PortCommand, PuntCommand, RouteCommand,
    ServiceCommand, WorkerCommand,
};
use crate::error::Error;

/// The request of a command.
pub(crate) fn request(command: &Command) -> Result<Request, Error> {
    Ok(match command {
        Command::Status { .. } => Request::Status {},
        Command::Service(ServiceCommand::List { .. }) => Request::ServiceList {},
        Command::Backend(command) => match command.setting()? {
            Some(setting) => setting.request(),
            None => Request::BackendList {},
        },
        Command::Worker(WorkerCommand::List { .. }) => Request::WorkerList {},
        Command::Port(PortCommand::List { .. }) => Request::PortList {},
        Command::Port(PortCommand::Stats { extended, .. }) => {
            Request::PortStats { extended: *extended }
        }
        Command::Interface(InterfaceCommand::List { .. }) => Request::InterfaceList {},
        Command::Neighbor(NeighborCommand::List { .. }) => Request::NeighborList {},
        Command::Route(RouteCommand::Show { backend, .. }) => {
            Request::RouteShow { backend: backend.backend.clone(), pool: backend.pool.clone() }
        }
        Command::Punt(PuntCommand::List { .. }) => Request::PuntList {},
        Command::Pin(PinCommand::List { .. }) => Request::PinList {},
        Command::Stats { .. } => Request::Stats {},
        Command::Config(ConfigCommand::Show) => Request::ConfigShow {},
        Command::Config(ConfigCommand::Check { file }) => {
            Request::ConfigCheck { text: read(file)? }
        }
        Command::Config(ConfigCommand::Apply { file, reason }) => {
            Request::ConfigApply { text: read(file)?, reason: reason.text.clone() }
        }
        Command::Config(ConfigCommand::Reload { reason }) => {
            Request::ConfigReload { reason: reason.text.clone() }
        }
        Command::Vip(command) => command.request()?,
        Command::Node(command) => command.request(),
        Command::Bgp(command) => command.request(),
        Command::Check(command) => command.request(),
        Command::Monitor { since, kinds, no_follow, .. } => {
            // Without a first number, what is kept is only asked for if nothing follows.
            let since = since.or((!no_follow).then_some(0));
            Request::Monitor { since, instance: None, kinds: kinds.clone(), follow: !no_follow }
        }
        Command::Log(LogCommand::Level { level, reason, .. }) => {
            Request::LogLevel { level: *level, reason: reason.clone() }
        }
        Command::Flow(FlowCommand::List { worker, backend, pool, state, flow, limit, .. }) => {
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
pub(crate) fn narrow(response: &mut Response, command: &Command) -> Result<(), Error> {
    match (response, command) {
        (
            Response::Backends(backends),
            Command::Backend(BackendCommand::List { pool: Some(pool), .. }),
        ) => {
            backends.retain(|backend| backend.pool == *pool);
            if backends.is_empty() {
                return Err(Error::NoPool { pool: pool.clone() });
            }
        }
        (Response::Backends(backends), Command::Backend(command)) => {
            if let Some(place) = command.shown()? {
                backends.retain(|backend| place.has(backend));
                if backends.is_empty() {
                    return Err(Error::NoBackend { what: place.to_string() });
                }
            }
        }
        (Response::Checks(checks), Command::Check(CheckCommand::List { pool, state, .. })) => {
            if let Some(pool) = pool {
                checks.rows.retain(|row| row.pool == *pool);
                if checks.rows.is_empty() {
                    return Err(Error::NoCheckedPool { pool: pool.clone() });
                }
            }
            checks.rows.retain(|row| state.is_none_or(|state| row.state == state));
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
        (Response::Stats(stats), Command::Stats { nonzero: true, .. }) => {
            stats.verdicts.retain(|_, count| *count != 0);
            stats.events.retain(|_, count| *count != 0);
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    #[test]
    fn a_command_changes_what_its_request_changes() {
        for (line, is_change) in [
            ("status", false),
            ("service list", false),
            ("backend list", false),
            ("backend drain web/b1", true),
            ("backend enable web", true),
            ("backend disable --address 10.0.0.5", true),
            ("backend weight web/b1 0", true),
            ("backend weight --address 10.0.0.5 unset", true),
            ("backend state web/b1", false),
            ("backend state --address 10.0.0.5", false),
            ("backend state web/b1 down", true),
            ("backend state --address 10.0.0.5 down", true),
            ("backend state web unset", true),
            ("vip list", false),
            ("vip announce 203.0.113.10 --next-hop 192.0.2.1", true),
            ("vip withdraw 203.0.113.10", true),
            ("vip drain 203.0.113.10", true),
            ("vip undrain 203.0.113.10", true),
            ("node show", false),
            ("node drain", true),
            ("node undrain", true),
            ("bgp list", false),
            ("bgp show tor1", false),
            ("check list", false),
            ("check show http/b1", false),
            ("check run http/b1", true),
            ("monitor --controller", false),
            ("log level --controller", false),
            ("log level off --controller", true),
            ("worker list", false),
            ("port list", false),
            ("port stats", false),
            ("interface list", false),
            ("neighbor list", false),
            ("route show b1", false),
            ("punt list", false),
            ("pin list", false),
            ("stats", false),
            ("monitor", false),
            ("config show", false),
            ("config check /dev/null", false),
            ("config apply /dev/null", true),
            ("config reload", true),
            ("flow list", false),
            ("log level", false),
            ("log level off", true),
        ] {
            let words = ["guidewayctl"].into_iter().chain(line.split(' '));
            let command = Arguments::parse_from(words).command;
            assert_eq!(command.is_change(), is_change, "{line}");
            assert_eq!(request(&command).unwrap().is_change(), is_change, "{line}");
        }
    }
}
