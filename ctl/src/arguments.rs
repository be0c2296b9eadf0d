//! The command line: `guidewayctl NOUN VERB`, with options anywhere after the program's name.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use guideway_api::{DEFAULT_FLOWS, DEFAULT_SOCKET, FlowState, FlowTuple, MAX_FLOWS, Protocol};
use guideway_config::{declarations, paths};

/// Shows and changes the state of a running guideway.
#[derive(Debug, Parser)]
#[command(
    name = "guidewayctl",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 daemon unreachable, 4 not found, \
                  5 configuration rejected"
)]
pub(crate) struct Arguments {
    /// The daemon's control socket
    #[arg(long, global = true, value_name = "PATH", env = "GUIDEWAY_SOCKET",
          default_value = DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,

    /// How long to wait for each response of the daemon
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    /// How to print the result
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum,
          default_value_t = Output::Table)]
    pub(crate) output: Output,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns
    Table,
    /// The body of the daemon's response
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the daemon's name, version and totals
    Status,
    /// The virtual addresses and ports
    #[command(subcommand)]
    Service(ServiceCommand),
    /// The servers behind the services
    #[command(subcommand)]
    Backend(BackendCommand),
    /// The packet-processing threads
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// The network ports
    #[command(subcommand)]
    Port(PortCommand),
    /// The kernel's devices of the ports
    #[command(subcommand)]
    Interface(InterfaceCommand),
    /// The hosts and routers that packets are sent to
    #[command(subcommand)]
    Neighbor(NeighborCommand),
    /// The routes to backends
    #[command(subcommand)]
    Route(RouteCommand),
    /// The packets that are given to the kernel
    #[command(subcommand)]
    Punt(PuntCommand),
    /// Count packets by verdict, summed over the workers
    Stats {
        /// Omit verdicts and events at 0
        #[arg(long)]
        nonzero: bool,
    },
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The flow tables
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List the services in force
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    /// List the backends in force
    List {
        /// Only the backends of this pool
        #[arg(long)]
        pool: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// List the workers and their counters
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PortCommand {
    /// List the ports, their links and their devices' counters
    List,
    /// Show the counters of each port's device, by name
    Stats {
        /// Include all counters of the device, by its driver's names
        #[arg(long)]
        extended: bool,
        /// Omit counters at 0
        #[arg(long)]
        nonzero: bool,
        /// Only this port
        #[arg(long)]
        port: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InterfaceCommand {
    /// List the ports' interfaces, their addresses, VLAN devices and counters
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NeighborCommand {
    /// List the neighbors, their MAC addresses and states
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Show the route to a backend, or why there is none
    Show {
        /// POOL/BACKEND, the name of a backend if it is unique, or the address of a backend or cluster
        /// member
        #[arg(value_name = "BACKEND", value_parser = backend)]
        backend: BackendName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PuntCommand {
    /// List the classes, their limits and counters
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the text of the configuration in force
    Show,
    /// Validate a configuration against the running daemon and change nothing
    Check {
        /// The configuration; `-` is stdin
        file: PathBuf,
    },
    /// Put a configuration in force on every worker, or change nothing
    Apply {
        /// The configuration; `-` is stdin
        file: PathBuf,
    },
    /// Put the daemon's configuration file in force on every worker, or change nothing
    Reload,
    /// Say what a key means; needs no daemon
    Explain {
        /// A key or a section, for example port.mtu; all keys without it
        #[arg(value_parser = KeyParser, hide_possible_values = true)]
        key: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum FlowCommand {
    /// List flows that match every option given
    List {
        /// Only flows of this worker
        #[arg(long)]
        worker: Option<u16>,
        /// Only flows of this backend
        #[arg(long)]
        backend: Option<String>,
        /// Only flows of this pool's backends
        #[arg(long)]
        pool: Option<String>,
        /// Only flows in this state
        #[arg(long, value_parser = states())]
        state: Option<FlowState>,
        /// Only this flow: PROTOCOL,SOURCE:PORT,DESTINATION:PORT, an IPv6 address in brackets
        #[arg(long, value_parser = flow)]
        flow: Option<FlowTuple>,
        #[arg(long, value_parser = limit, help = limit_help())]
        limit: Option<usize>,
    },
}

/// A backend on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendName {
    pub(crate) pool: Option<String>,
    /// A name or an address.
    pub(crate) backend: String,
}

/// Any text, of which the shell completes the known keys.
#[derive(Clone, Debug)]
struct KeyParser;

impl TypedValueParser for KeyParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(paths(&declarations()).into_iter().map(PossibleValue::new)))
    }
}

fn states() -> impl TypedValueParser<Value = FlowState> {
    PossibleValuesParser::new(FlowState::ALL.map(FlowState::name)).try_map(|name| {
        FlowState::ALL.into_iter().find(|state| state.name() == name).ok_or("no such state")
    })
}

fn limit_help() -> String {
    format!("Rows at the most, up to {MAX_FLOWS} [default: {DEFAULT_FLOWS}]")
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if (1..=MAX_FLOWS).contains(&limit) => Ok(limit),
        _ => Err(format!("a number from 1 to {MAX_FLOWS} is needed")),
    }
}

/// Parses a backend as `web/b1`, `b1` or `10.0.0.5`. A pool's name ends at the first slash.
fn backend(text: &str) -> Result<BackendName, String> {
    let (pool, backend) = match text.split_once('/') {
        Some((pool, backend)) => (Some(pool), backend),
        None => (None, text),
    };
    if pool == Some("") || backend.is_empty() {
        return Err("POOL/BACKEND, a name or an address is needed, for example web/b1".into());
    }
    Ok(BackendName { pool: pool.map(String::from), backend: backend.into() })
}

/// Parses a flow as `tcp,198.51.100.1:40000,203.0.113.10:80`.
fn flow(text: &str) -> Result<FlowTuple, String> {
    let [protocol, source, destination] = text.split(',').collect::<Vec<_>>()[..] else {
        return Err("three parts with commas between them are needed, \
                    for example tcp,198.51.100.1:40000,203.0.113.10:80"
            .into());
    };
    let address = |text: &str| {
        text.parse().map_err(|_| {
            format!("{text} is not ADDRESS:PORT, such as 203.0.113.10:80 or [2001:db8::1]:80")
        })
    };
    let tuple = FlowTuple {
        protocol: match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return Err(format!("{other} is not a protocol; use tcp or udp")),
        },
        source: address(source)?,
        destination: address(destination)?,
    };
    if tuple.source.is_ipv4() != tuple.destination.is_ipv4() {
        return Err("both addresses must be IPv4, or both IPv6".into());
    }
    Ok(tuple)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn claps_own_checks_pass() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flows_are_parsed() {
        let tuple = flow("udp,[2001:db8::1]:53,[2001:db8::2]:5353").unwrap();
        assert_eq!(tuple.protocol, Protocol::Udp);
        assert_eq!(tuple.source, "[2001:db8::1]:53".parse().unwrap());
        assert_eq!(tuple.destination, "[2001:db8::2]:5353".parse().unwrap());
        for (text, message) in [
            ("tcp", "three parts"),
            ("tcp,192.0.2.1:1,192.0.2.2:2,3", "three parts"),
            ("sctp,192.0.2.1:1,192.0.2.2:2", "sctp is not a protocol"),
            ("tcp,192.0.2.1,192.0.2.2:2", "192.0.2.1 is not ADDRESS:PORT"),
            ("tcp,192.0.2.1:1,[2001:db8::1]:1", "both addresses"),
        ] {
            let error = flow(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn backends_are_parsed() {
        let of = |pool: Option<&str>, backend: &str| {
            Ok(BackendName { pool: pool.map(String::from), backend: backend.into() })
        };
        assert_eq!(backend("web/b1"), of(Some("web"), "b1"));
        assert_eq!(backend("web/b/1"), of(Some("web"), "b/1"));
        assert_eq!(backend("2001:db8::5"), of(None, "2001:db8::5"));
        for text in ["", "/", "web/", "/b1"] {
            assert!(backend(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_those_of_the_protocol() {
        assert_eq!(limit("1"), Ok(1));
        assert_eq!(limit("10000"), Ok(MAX_FLOWS));
        for text in ["0", "10001", "-1", "all"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}
