//! The thread's handle: what others tell and ask it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use guideway_api::{CheckDetails, CheckRun, Error, ErrorKind};
use guideway_config::Configuration;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::checker::Checker;
use super::command::{Command, Question, Report, Which};
use super::settings;
use super::snapshot::Snapshot;

/// How long an answer may take that needs no probe.
const ANSWER: Duration = Duration::from_secs(2);

/// How long a probe may take, and some time to spare: no check has a longer timeout.
const PROBE: Duration = Duration::from_secs(65);

/// The running thread. Dropping the handle ends it, and leaves states and pins as they are.
#[derive(Debug)]
pub struct Handle {
    asker: Asker,
    thread: Option<JoinHandle<()>>,
}

/// Asks the thread. Any thread may use a clone.
#[derive(Clone, Debug)]
pub struct Asker(UnboundedSender<Command>);

/// Starts to check backends, once there is a configuration. `socket` is the forwarder's.
///
/// # Errors
/// If the operating system refuses a thread or a descriptor.
pub fn start(socket: PathBuf, report: impl Fn(Report) + Send + 'static) -> io::Result<Handle> {
    let (commands, received) = unbounded_channel();
    let to_self = commands.clone();
    let tell = move |report| _ = to_self.send(Command::Settings(report));
    let settings = settings::start(socket, tell)?;
    let to_self = commands.clone();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    raise_limit();
    let run = move || {
        let (checker, endings) = Checker::new(report, settings, to_self);
        LocalSet::new().block_on(&runtime, checker.run(endings, received));
    };
    let thread = thread::Builder::new().name("checks".into()).spawn(run)?;
    Ok(Handle { asker: Asker(commands), thread: Some(thread) })
}

/// Each probe under way has a socket, and the usual limit of open files is far below the number of backends.
fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

impl Handle {
    /// A configuration is in force on every worker. `is_running` says that addresses are announced already, so that an
    /// earlier run of the controller has checked their backends.
    pub fn configure(&self, configuration: Arc<Configuration>, is_running: bool) {
        self.asker.tell(Command::Configure { configuration, is_running });
    }

    /// The number of the forwarder's process, if it answers, and whether it is well enough for results to say something.
    pub fn forwarder(&self, process: Option<i32>, is_well: bool) {
        self.asker.tell(Command::Forwarder { process, is_well });
    }

    /// Whether probes through tunnels can leave the node.
    pub fn probes_ready(&self, is_ready: bool) {
        self.asker.tell(Command::Probes { is_ready });
    }

    /// Asks the thread.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.asker.tell(Command::Stop);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that checks backends panicked");
        }
    }
}

impl Asker {
    fn tell(&self, command: Command) {
        // A thread that has ended wants to know nothing.
        let _ = self.0.send(command);
    }

    /// Everything that is known of the checks.
    ///
    /// # Errors
    /// If the thread does not answer in time.
    pub fn list(&self) -> Result<Snapshot, Error> {
        let (answer, answered) = bounded(1);
        self.tell(Command::Ask(Question::List(answer)));
        wait(&answered, ANSWER)
    }

    /// One check of one backend.
    ///
    /// # Errors
    /// If there is none, or the thread does not answer in time.
    pub fn show(&self, which: Which) -> Result<CheckDetails, Error> {
        let (answer, answered) = bounded(1);
        self.tell(Command::Ask(Question::Show { which, answer }));
        wait(&answered, ANSWER)?
    }

    /// Probes once, and waits until that has ended.
    ///
    /// # Errors
    /// If there is no such check, or the thread does not answer in time.
    pub fn run(&self, which: Which) -> Result<CheckRun, Error> {
        let (answer, answered) = bounded(1);
        self.tell(Command::Ask(Question::Run { which, answer }));
        wait(&answered, PROBE)?
    }
}

fn wait<T>(answered: &Receiver<T>, time: Duration) -> Result<T, Error> {
    let late = |_| Error::new(ErrorKind::Failed, "the checks do not answer in time; try again");
    answered.recv_timeout(time).map_err(late)
}
