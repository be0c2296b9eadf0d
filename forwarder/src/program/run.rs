//! `guideway run`

use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use guideway::appliance::{Appliance, Mode};
use guideway_api::{Happening, Request, Response};
use guideway_chassis::event::Recorder;
use guideway_chassis::http;
use guideway_chassis::peer::{Access, Peer};
use guideway_chassis::server::{self, Handler, Server};
use guideway_config::Control;
use guideway_management::daemon::Daemon;
use guideway_management::health::Stage;
use guideway_management::metrics::Exporter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use super::load::load;
use guideway_chassis::log::Log;

pub(super) fn run(path: &Path, log: &Log) -> Result<ExitCode> {
    let Some((text, parsed)) = load(path)? else { return Ok(ExitCode::FAILURE) };
    log.configure(&parsed.configuration.log);
    let events = Recorder::default();
    // Before the devices start, so that a signal during the start still ends in an orderly stop.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot handle signals")?;
    let control = parsed.configuration.control.clone();
    // First, so that a second appliance on the same socket fails before it touches a device.
    let group = control.group.as_deref().map(|group| ("control.group", group));
    let read_group = control.read_group.as_deref().map(|group| ("control.read_group", group));
    let server =
        Server::bind(guideway_api::Daemon::Forwarder, &control.socket, group, Access::Full)?;
    let read_server = control
        .read_socket
        .as_ref()
        .map(|path| Server::bind(guideway_api::Daemon::Forwarder, path, read_group, Access::Read))
        .transpose()?;
    let node = parsed.configuration.node.name.clone();
    let metrics = &parsed.configuration.metrics;
    let http = http::Server::bind(
        &metrics.listen,
        ("metrics.hosts", &metrics.hosts),
        read_group.or(group),
    )
    .context("metrics.listen")?;
    let http = http.start(Stage::Starting.pages(&node)).context("cannot start the HTTP server")?;
    let recording = (events.clone(), log.level());
    let mut appliance = Appliance::start(path.to_owned(), text, parsed, Mode::Live, recording)?;
    let (version, pid) = (env!("CARGO_PKG_VERSION").to_owned(), process::id());
    events.record(Happening::DaemonStarted { version, pid });
    let daemon = appliance.daemon().clone();
    let answering = daemon.clone();
    let handler: Handler = Arc::new(move |peer, request| answering.serve(peer, request));
    let mut servers = vec![server.start(Arc::clone(&handler), events.clone())];
    servers.extend(read_server.map(|server| server.start(handler, events.clone())));
    let exporter = Exporter::new(Arc::clone(&daemon), Arc::clone(appliance.health()));
    let metrics = Arc::new(move |query: &http::Query| exporter.page(query));
    http.serve(appliance.health().pages(&daemon, metrics));
    let ready = Ready::start(&daemon, &events, &control)?;

    // This thread never waits for a file, a client or a reader of the log. So a signal that ends
    // the program always ends it.
    let reloads = Reloads::start(&daemon, path)?;
    let mut reason = "SIGTERM";
    for signal in signals.forever() {
        if signal != SIGHUP {
            reason = if signal == SIGINT { "SIGINT" } else { reason };
            break;
        }
        reloads.ask();
    }
    let cannot_announce = appliance.cannot_announce();
    if cannot_announce {
        reason = "announce.interface cannot be opened";
    }
    // First: until routers know, packets come for the addresses.
    let linger = appliance.withdraw();
    events.record(Happening::DaemonStopping { reason: reason.to_owned() });
    if let Some(linger) = linger.filter(|_| !cannot_announce) {
        wait(&mut signals, linger);
    }

    // The pages let go of the daemon, which is to end before the devices do.
    http.serve(Stage::Stopping.pages(&node));
    daemon.stop();
    servers.into_iter().for_each(server::Handle::stop);
    reloads.stop();
    ready.stop();
    drop(daemon);
    let stopped = appliance.stop();
    http.stop();
    let stats = &stopped.stats;
    info!("stopped: received {}, transmitted {}", stats.received, stats.transmitted);
    if stopped.leaked > 0 {
        error!("{} packet buffers did not come back to their pool", stopped.leaked);
        return Ok(ExitCode::FAILURE);
    }
    if stopped.unsent > 0 {
        warn!("{} packet buffers did not come back: their packets were never sent", stopped.unsent);
    } else if stopped.kept > 0 {
        info!(
            "every packet buffer is back in its pool, but for {} that drivers keep",
            stopped.kept
        );
    } else {
        info!("every packet buffer is back in its pool");
    }
    Ok(if cannot_announce { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Waits for some time, or until another signal that ends the program. Packets are forwarded and requests answered
/// meanwhile.
fn wait(signals: &mut Signals, time: Duration) {
    /// How often it looks for signals.
    const PERIOD: Duration = Duration::from_millis(10);
    info!("all virtual addresses are withdrawn; forwarding on for {} ms", time.as_millis());
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if signals.pending().any(|signal| signal != SIGHUP) {
            return;
        }
        thread::sleep(left.min(PERIOD));
    }
}

/// The thread that reloads the configuration.
struct Reloads {
    asked: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Reloads {
    fn start(daemon: &Arc<Daemon>, path: &Path) -> Result<Reloads> {
        // One reload may wait while another runs. Further requests would have the same effect.
        let (asked, requests) = sync_channel(1);
        let (daemon, path) = (Arc::clone(daemon), path.to_owned());
        let thread = thread::Builder::new()
            .name("reload".into())
            .spawn(move || requests.iter().for_each(|()| reload(&daemon, &path)))
            .context("cannot start a thread")?;
        Ok(Reloads { asked, thread })
    }

    fn ask(&self) {
        // A full channel holds a request for a reload that has not begun.
        _ = self.asked.try_send(());
    }

    /// Waits for a running reload, which gives up once the daemon stops.
    fn stop(self) {
        drop(self.asked);
        if self.thread.join().is_err() {
            error!("the thread that reloads the configuration panicked");
        }
    }
}

fn reload(daemon: &Daemon, path: &Path) {
    let request = Request::ConfigReload { reason: None };
    // What became of it is an event.
    match daemon.serve(&Peer::own("SIGHUP"), request) {
        Response::Applied { warnings, .. } => {
            warnings.iter().for_each(|warning| warn!("{}: {warning}", path.display()));
        }
        Response::Error(refusal) => {
            refusal.details.iter().for_each(|detail| error!("{}: {detail}", path.display()));
        }
        _ => error!("reload: unexpected reply"),
    }
}

/// The thread that records when every worker forwards by the first tables.
struct Ready(JoinHandle<()>);

impl Ready {
    /// How often the thread looks at the workers.
    const PERIOD: Duration = Duration::from_millis(2);

    fn start(daemon: &Arc<Daemon>, events: &Recorder, control: &Control) -> Result<Ready> {
        let (daemon, events, socket) = (Arc::clone(daemon), events.clone(), control.socket.clone());
        let wait = move || {
            while !daemon.is_stopping() {
                if let Some(generation) = daemon.in_force() {
                    let words = format!("ready; control socket {}", socket.display());
                    events.explain(Happening::DaemonReady { generation }, &words);
                    return;
                }
                thread::sleep(Ready::PERIOD);
            }
        };
        let thread = thread::Builder::new().name("ready".into()).spawn(wait);
        Ok(Ready(thread.context("cannot start a thread")?))
    }

    fn stop(self) {
        if self.0.join().is_err() {
            error!("the thread that waits for the workers panicked");
        }
    }
}
