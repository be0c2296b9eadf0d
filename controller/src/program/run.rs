//! The start and the end of the program.
//!
//! It is ready when it serves its control socket. It does not wait for a forwarder: that one may be started later, or
//! again.
//!
//! A thread that panics ends the program, so that systemd starts it again; routes and BIRD stay as they are meanwhile.
//! Only those threads go on that answer clients: what they fail at is one answer.

use std::panic;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, bounded, select};
use guideway_api::{Daemon, Happening};
use guideway_chassis::event::Recorder;
use guideway_chassis::http;
use guideway_chassis::log::Log;
use guideway_chassis::notify::Notify;
use guideway_chassis::peer::Access;
use guideway_chassis::server::{self, Handler, Server};
use guideway_controller::answer::Answers;
use guideway_controller::health::{Stage, pages};
use guideway_controller::manager::{self, Settings};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::arguments::Arguments;
use super::follow::{Follower, status};

/// How often the program looks at the manager's view.
const LOOK: Duration = Duration::from_millis(500);

/// How long the manager rests at the most.
const ROUND: Duration = Duration::from_secs(1);

/// The names of the threads that answer clients.
const ANSWERING: [&str; 3] = ["control", "http", "http-page"];

pub(super) fn run(arguments: &Arguments, log: &Log) -> Result<()> {
    end_if_a_thread_panics();
    let events = Recorder::default();
    let notify = Arc::new(Notify::from_environment());
    // Before any thread that decides, so that a signal during the start still ends in an orderly stop.
    let signals = signals()?;
    // First, so that a second controller on the same socket fails before it touches a route.
    let group = arguments.group.as_deref().map(|group| ("--group", group));
    let server = Server::bind(Daemon::Controller, &arguments.socket, group, Access::Full)
        .context("--socket")?;
    let read_group = arguments.read_group.as_deref().map(|group| ("--read-group", group));
    let bind = |path| Server::bind(Daemon::Controller, path, read_group, Access::Read);
    let read_server =
        arguments.read_socket.as_deref().map(bind).transpose().context("--read-socket")?;
    let hosts = ("--host", arguments.host.as_slice());
    let http =
        http::Server::bind(&arguments.listen, hosts, read_group.or(group)).context("--listen")?;
    let http = http.start(Stage::Starting.pages()).context("cannot start the HTTP server")?;

    let settings = Settings {
        forwarder: arguments.forwarder.clone(),
        state_directory: arguments.state_directory.clone(),
        round: notify.watchdog().map_or(ROUND, |limit| ROUND.min(limit / 4)),
    };
    let (version, pid) = (env!("CARGO_PKG_VERSION").to_owned(), process::id());
    events.record(Happening::DaemonStarted { version, pid });
    let alive = alive(&notify);
    let manager = manager::start(&settings, &events, alive).context("cannot start a thread")?;
    let manager = Arc::new(manager);
    let answers = Answers::new(Arc::clone(&manager), events.clone(), log.level());
    let handler: Handler = Arc::new(move |peer, request| answers.serve(peer, request));
    let mut servers = vec![server.start(Arc::clone(&handler), events.clone())];
    servers.extend(read_server.map(|server| server.start(handler, events.clone())));
    http.serve(pages(&manager));
    tracing::info!("ready; control socket {}", arguments.socket.display());
    notify.ready(&status(&manager.view().load()));

    let ended = serve(&signals, &manager, &mut Follower::new(log, &notify));
    let reason = ended.as_deref().unwrap_or("the manager has ended").to_owned();
    events.record(Happening::DaemonStopping { reason });
    notify.stopping();
    http.serve(Stage::Stopping.pages());
    servers.into_iter().for_each(server::Handle::stop);
    http.stop();
    // The last handle of the manager: the server's threads have ended. It brings the last orders to the disk.
    drop(manager);
    if ended.is_none() {
        bail!("the manager has ended, which is a defect");
    }
    Ok(())
}

/// Serves until a signal ends the program, and returns the signal's name; none if the manager has ended.
fn serve(
    signals: &Receiver<i32>,
    manager: &manager::Handle,
    follower: &mut Follower<'_>,
) -> Option<String> {
    loop {
        follower.see(&manager.view().load());
        select! {
            recv(signals) -> signal => match signal {
                Ok(SIGHUP) => manager.reload(),
                Ok(SIGINT) => return Some("SIGINT".to_owned()),
                _ => return Some("SIGTERM".to_owned()),
            },
            recv(manager.ended()) -> _ => return None,
            default(LOOK) => {}
        }
    }
}

/// The signals that come from now on.
fn signals() -> Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot handle signals")?;
    let (sender, receiver) = bounded(16);
    let forward = move || {
        for signal in signals.forever() {
            // Nobody asks for the signals any more once the program ends.
            if sender.send(signal).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(forward)
        .context("cannot start a thread")?;
    Ok(receiver)
}

/// What the manager's thread calls each time that it goes round.
fn alive(notify: &Arc<Notify>) -> impl FnMut() + Send + use<> {
    let notify = Arc::clone(notify);
    let period = notify.watchdog().map(|limit| limit / 4);
    let mut told: Option<Instant> = None;
    move || {
        let Some(period) = period else { return };
        if told.is_none_or(|told| told.elapsed() >= period) {
            notify.alive();
            told = Some(Instant::now());
        }
    }
}

/// Has the program end when a thread panics that does not merely answer clients.
fn end_if_a_thread_panics() {
    let log = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        log(panic);
        let thread = thread::current();
        if !thread.name().is_some_and(|name| ANSWERING.contains(&name)) {
            process::exit(1);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// The thread that is to panic, in a process of its own.
    const PANICS: &str = "GUIDEWAY_TEST_PANICS";

    #[test]
    fn a_panic_ends_the_program_unless_its_thread_answers_clients() {
        if let Ok(name) = std::env::var(PANICS) {
            end_if_a_thread_panics();
            let thread = thread::Builder::new().name(name).spawn(|| panic!("as a test wants it"));
            assert!(thread.unwrap().join().is_err());
            process::exit(42);
        }
        for (name, code) in [
            ("manager", 1),
            ("routes", 1),
            ("bird", 1),
            ("icmp", 1),
            ("pulse", 1),
            ("control", 42),
            ("http", 42),
        ] {
            let done = process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "program::run::tests::a_panic_ends_the_program_unless_its_thread_answers_clients"])
                .env(PANICS, name)
                .output()
                .unwrap();
            assert_eq!(done.status.code(), Some(code), "{name}: {done:?}");
        }
    }

    #[test]
    fn a_manager_without_a_watchdog_is_silent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let notify = Arc::new(Notify::to(path.as_os_str()).unwrap());
        let mut alive = alive(&notify);
        alive();
        assert!(socket.recv(&mut [0; 64]).is_err());
    }
}
