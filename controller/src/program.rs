//! The command line of `guideway-controller`, its start and its end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use guideway_api::{Daemon, Happening};
use guideway_chassis::event::Recorder;
use guideway_chassis::log::{self, Log};
use guideway_chassis::notify::Notify;
use guideway_chassis::peer::Access;
use guideway_chassis::server::{self, Handler, Server};
use guideway_controller::answer::Answers;
use guideway_controller::manager::{self, Settings};
use guideway_output::report;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const AFTER_HELP: &str = "\
Environment:
  GUIDEWAY_LOG  The least severe level that is logged: off, error, warn, info or debug [default: info]

Exit codes:
  0  stopped by a signal
  1  failed: stderr says more
  2  usage";

/// How often the program looks at its manager.
const LOOK: Duration = Duration::from_millis(500);

/// Looks in which the manager may not have gone round before it is taken for hung. It goes round once a second.
const PATIENCE: u32 = 10;

/// Announces the virtual addresses of a guideway: by routes, which BIRD or FRR export
#[derive(Debug, Parser)]
#[command(name = "guideway-controller", version, after_help = AFTER_HELP)]
struct Arguments {
    /// The forwarder's control socket
    #[arg(long, value_name = "PATH", default_value = Daemon::Forwarder.socket())]
    forwarder: PathBuf,

    /// The controller's own control socket
    #[arg(long, value_name = "PATH", default_value = Daemon::Controller.socket())]
    socket: PathBuf,

    /// The group whose members may use the socket [default: that of the process]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// A second socket, at which clients can only read
    #[arg(long, value_name = "PATH")]
    read_socket: Option<PathBuf>,

    /// The group whose members may use the second socket [default: that of the process]
    #[arg(long, value_name = "NAME")]
    read_group: Option<String>,

    /// Where orders are kept for the next start
    #[arg(long, value_name = "PATH", default_value = "/var/lib/guideway-controller")]
    state_directory: PathBuf,
}

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
    let code = match run(&arguments, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.say(&format!("guideway-controller: {error:#}"));
            ExitCode::FAILURE
        }
    };
    log.flush();
    code
}

fn run(arguments: &Arguments, log: &Log) -> Result<()> {
    let events = Recorder::default();
    let notify = Notify::from_environment();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot handle signals")?;
    // First, so that a second controller on the same socket fails before it touches a route.
    let group = arguments.group.as_deref().map(|group| ("--group", group));
    let server = Server::bind(Daemon::Controller, &arguments.socket, group, Access::Full)?;
    let read_group = arguments.read_group.as_deref().map(|group| ("--read-group", group));
    let bind = |path| Server::bind(Daemon::Controller, path, read_group, Access::Read);
    let read_server = arguments.read_socket.as_deref().map(bind).transpose()?;
    let settings = Settings {
        forwarder: arguments.forwarder.clone(),
        state_directory: arguments.state_directory.clone(),
    };
    let (version, pid) = (env!("CARGO_PKG_VERSION").to_owned(), std::process::id());
    events.record(Happening::DaemonStarted { version, pid });
    let manager = manager::start(&settings, &events).context("cannot start a thread")?;
    let manager = Arc::new(manager);
    let answers = Answers::new(Arc::clone(&manager), events.clone(), log.level());
    let handler: Handler = Arc::new(move |peer, request| answers.serve(peer, request));
    let mut servers = vec![server.start(Arc::clone(&handler), events.clone())];
    servers.extend(read_server.map(|server| server.start(handler, events.clone())));
    notify.ready("waiting for the forwarder");

    let mut watch = Watch::new(&manager, &notify, log);
    let reason = loop {
        // A signal is taken note of within a look, which is soon enough for a stop that changes nothing.
        let pending: Vec<_> = signals.pending().collect();
        if pending.contains(&SIGTERM) {
            break "SIGTERM";
        }
        if pending.contains(&SIGINT) {
            break "SIGINT";
        }
        if pending.contains(&SIGHUP) {
            manager.reload();
        }
        watch.look()?;
        thread::sleep(LOOK.min(notify.watchdog().map_or(LOOK, |period| period / 3)));
    };
    events.record(Happening::DaemonStopping { reason: reason.to_owned() });
    notify.stopping();
    servers.into_iter().for_each(server::Handle::stop);
    Ok(())
}

/// Watches the manager, and tells the service manager.
struct Watch<'a> {
    manager: &'a manager::Handle,
    notify: &'a Notify,
    log: &'a Log,
    rounds: u64,
    idle: u32,
    status: String,
    /// The generation whose `[log]` is in force.
    generation: u64,
}

impl Watch<'_> {
    fn new<'a>(manager: &'a manager::Handle, notify: &'a Notify, log: &'a Log) -> Watch<'a> {
        Watch { manager, notify, log, rounds: 0, idle: 0, status: String::new(), generation: 0 }
    }

    /// Looks once. A manager that has panicked ends the program, so that it is started anew; what is announced stays.
    fn look(&mut self) -> Result<()> {
        anyhow::ensure!(!self.manager.has_ended(), "the manager has panicked, which is a defect");
        let rounds = self.manager.rounds();
        self.idle = if rounds == self.rounds { self.idle + 1 } else { 0 };
        self.rounds = rounds;
        // Otherwise the watchdog ends the program.
        if self.idle < PATIENCE {
            self.notify.alive();
        }
        let view = self.manager.view().load();
        if let Some(configuration) = &view.configuration
            && view.generation != self.generation
        {
            self.generation = view.generation;
            self.log.configure(&configuration.log);
        }
        let node = view.to_node();
        let status = format!(
            "forwarder {}; {} announced, {} draining, {} withdrawn",
            node.forwarder.name(),
            node.announced,
            node.draining,
            node.withdrawn
        );
        if status != self.status {
            self.notify.status(&status);
            self.status = status;
        }
        Ok(())
    }
}
