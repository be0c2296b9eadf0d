//! The command line: `guidewayctl NOUN VERB`, with options anywhere after the program's name.

mod announce;
mod backend;
mod check;
mod config;
mod parse;
mod watch;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use guideway_api::{Daemon, FlowState, FlowTuple, LogLevel, Request};
use guideway_client::{Client, Error as Unanswered};

pub(crate) use announce::{BgpCommand, NodeCommand, VipCommand};
pub(crate) use backend::{BackendCommand, Setting};
pub(crate) use check::CheckCommand;
pub(crate) use config::ConfigCommand;
pub(crate) use parse::BackendName;
use watch::Watch;

/// Shows and changes the state of a running guideway.
#[derive(Debug, Parser)]
#[command(
    name = "guidewayctl",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 daemon unreachable, 4 not found, \
                  5 rejected or forbidden\n\
                  The names of commands that only read may be shortened: guidewayctl ba l"
)]
pub(crate) struct Arguments {
    /// The control socket of the daemon that the command asks [default: that of GUIDEWAY_SOCKET or
    /// /run/guideway/guideway.sock; of the controller GUIDEWAY_CONTROLLER_SOCKET or
    /// /run/guideway-controller/controller.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// How long to wait for each response of the daemon
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    /// How to print the result [default: table, or jsonl for monitor]
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum)]
    output: Option<Output>,

    /// The same as --output json
    #[arg(short, global = true, conflicts_with = "output")]
    json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Connects to the daemon that carries out this request.
    pub(crate) fn connect(&self, request: &Request) -> Result<Client, Unanswered> {
        let (daemon, socket) = self.target(request);
        Client::connect(&socket, daemon, Duration::from_secs(self.timeout))
    }

    /// The daemon that carries out this request, and its socket.
    pub(crate) fn target(&self, request: &Request) -> (Daemon, PathBuf) {
        let asked = match &self.command {
            Command::Monitor { whose, .. } | Command::Log(LogCommand::Level { whose, .. }) => {
                whose.daemon()
            }
            _ => Daemon::Forwarder,
        };
        let daemon = request.daemon().unwrap_or(asked);
        let variable = match daemon {
            Daemon::Forwarder => "GUIDEWAY_SOCKET",
            Daemon::Controller => "GUIDEWAY_CONTROLLER_SOCKET",
        };
        let of_variable =
            || env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
        let socket = self.socket.clone().or_else(of_variable);
        (daemon, socket.unwrap_or_else(|| daemon.socket().into()))
    }

    pub(crate) fn output(&self) -> Output {
        match (self.json, self.output, &self.command) {
            (true, ..) => Output::Json,
            (false, Some(output), _) => output,
            (false, None, Command::Monitor { .. }) => Output::JsonLines,
            (false, None, _) => Output::Table,
        }
    }
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns
    Table,
    /// The body of the daemon's response
    Json,
    /// An object a line: each element of a list, or the body
    #[value(name = "jsonl")]
    JsonLines,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the daemon's name, version and totals
    Status {
        #[command(flatten)]
        watch: Watch,
    },
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
    /// The checks of backends
    #[command(subcommand)]
    Check(CheckCommand),
    /// The source ports by which probes find their backend
    #[command(subcommand)]
    Pin(PinCommand),
    /// The virtual addresses that the controller announces
    #[command(subcommand)]
    Vip(VipCommand),
    /// All virtual addresses of the node, and its controller
    #[command(subcommand)]
    Node(NodeCommand),
    /// The BGP sessions of the managed BIRD
    #[command(subcommand)]
    Bgp(BgpCommand),
    /// Count packets by verdict, summed over the workers
    Stats {
        /// Omit verdicts and events at 0
        #[arg(long)]
        nonzero: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// Print the daemon's events as they happen
    Monitor {
        /// Begin with the event of this number, 1 for all that are kept [default: the next event; with
        /// --no-follow, all that are kept]
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
        since: Option<u64>,
        #[arg(long = "kind", value_name = "KIND", value_parser = parse::kinds(),
              hide_possible_values = true, help = "Only events of this kind; may be repeated",
              long_help = parse::kinds_help())]
        kinds: Vec<String>,
        /// End after the events that are kept
        #[arg(long)]
        no_follow: bool,
        #[command(flatten)]
        whose: Whose,
    },
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The flow tables
    #[command(subcommand)]
    Flow(FlowCommand),
    /// The daemon's log
    #[command(subcommand)]
    Log(LogCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List the services in force
    List {
        #[command(flatten)]
        watch: Watch,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// List the workers and their counters
    List {
        #[command(flatten)]
        watch: Watch,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PortCommand {
    /// List the ports, their links and their devices' counters
    List {
        #[command(flatten)]
        watch: Watch,
    },
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
        #[command(flatten)]
        watch: Watch,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InterfaceCommand {
    /// List the ports' interfaces, their addresses, VLAN devices and counters
    List {
        #[command(flatten)]
        watch: Watch,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NeighborCommand {
    /// List the neighbors, their MAC addresses and states
    List {
        #[command(flatten)]
        watch: Watch,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Show the route to a backend, or why there is none
    Show {
        /// POOL/BACKEND, the name of a backend if it is unique, or the address of a backend or cluster
        /// member
        #[arg(value_name = "BACKEND", value_parser = parse::backend)]
        backend: BackendName,
        #[command(flatten)]
        watch: Watch,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PuntCommand {
    /// List the classes, their limits and counters
    List {
        #[command(flatten)]
        watch: Watch,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PinCommand {
    /// List the pins that the controller has set
    List {
        #[command(flatten)]
        watch: Watch,
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
        #[arg(long, value_parser = parse::states())]
        state: Option<FlowState>,
        /// Only this flow: PROTOCOL,SOURCE:PORT,DESTINATION:PORT, an IPv6 address in brackets
        #[arg(long, value_parser = parse::flow)]
        flow: Option<FlowTuple>,
        #[arg(long, value_parser = parse::limit, help = parse::limit_help())]
        limit: Option<usize>,
        #[command(flatten)]
        watch: Watch,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Show the level of the log, or set it
    Level {
        /// The level to set
        #[arg(value_parser = parse::levels())]
        level: Option<LogLevel>,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT", requires = "level")]
        reason: Option<String>,
        #[command(flatten)]
        whose: Whose,
    },
}

/// Which daemon a command is for that each has.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// Ask guideway-controller instead of guideway
    #[arg(long)]
    controller: bool,
}

impl Whose {
    fn daemon(&self) -> Daemon {
        if self.controller { Daemon::Controller } else { Daemon::Forwarder }
    }
}

impl Command {
    /// Whether the command changes what the daemon does.
    pub(crate) fn is_change(&self) -> bool {
        match self {
            Command::Config(ConfigCommand::Apply { .. } | ConfigCommand::Reload { .. }) => true,
            Command::Log(LogCommand::Level { level, .. }) => level.is_some(),
            Command::Backend(command) => command.is_change(),
            Command::Vip(command) => command.is_change(),
            Command::Node(command) => command.is_change(),
            Command::Check(command) => command.is_change(),
            Command::Config(
                ConfigCommand::Show | ConfigCommand::Check { .. } | ConfigCommand::Explain { .. },
            )
            | Command::Status { .. }
            | Command::Service(_)
            | Command::Worker(_)
            | Command::Port(_)
            | Command::Interface(_)
            | Command::Neighbor(_)
            | Command::Route(_)
            | Command::Punt(_)
            | Command::Pin(_)
            | Command::Bgp(_)
            | Command::Stats { .. }
            | Command::Monitor { .. }
            | Command::Flow(_)
            | Command::Completions { .. } => false,
        }
    }

    /// The time from one look to the next, if the command is to look again and again.
    pub(crate) fn watch(&self) -> Option<Duration> {
        let watch = match self {
            Command::Status { watch }
            | Command::Service(ServiceCommand::List { watch })
            | Command::Backend(
                BackendCommand::List { watch, .. } | BackendCommand::State { watch, .. },
            )
            | Command::Worker(WorkerCommand::List { watch })
            | Command::Port(PortCommand::List { watch } | PortCommand::Stats { watch, .. })
            | Command::Interface(InterfaceCommand::List { watch })
            | Command::Neighbor(NeighborCommand::List { watch })
            | Command::Route(RouteCommand::Show { watch, .. })
            | Command::Punt(PuntCommand::List { watch })
            | Command::Pin(PinCommand::List { watch })
            | Command::Stats { watch, .. }
            | Command::Flow(FlowCommand::List { watch, .. }) => watch,
            Command::Vip(command) => return command.watch()?.every,
            Command::Node(command) => return command.watch()?.every,
            Command::Check(command) => return command.watch()?.every,
            Command::Bgp(command) => command.watch(),
            Command::Backend(
                BackendCommand::Drain { .. }
                | BackendCommand::Enable { .. }
                | BackendCommand::Disable { .. }
                | BackendCommand::Weight { .. },
            )
            | Command::Monitor { .. }
            | Command::Config(_)
            | Command::Log(_)
            | Command::Completions { .. } => return None,
        };
        watch.every
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn claps_own_checks_pass() {
        Arguments::command().debug_assert();
    }
}
