//! `guideway run`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use guideway::appliance::{Appliance, Mode};
use guideway_api::{Request, Response};
use guideway_management::daemon::Daemon;
use guideway_management::server::Server;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use super::load::load;

pub(super) fn run(path: &Path) -> Result<ExitCode> {
    let Some((text, parsed)) = load(path)? else { return Ok(ExitCode::FAILURE) };
    // Before the devices start, so that a signal during the start still ends in an orderly stop.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot handle signals")?;
    let control = parsed.configuration.control.clone();
    // First, so that a second appliance on the same socket fails before it touches a device.
    let server = Server::bind(&control.socket, control.group.as_deref())?;
    let appliance = Appliance::start(path.to_owned(), text, parsed, Mode::Live)?;
    let daemon = appliance.daemon().clone();
    let answering = daemon.clone();
    let server = server.start(Arc::new(move |request| answering.handle(request)));
    info!("ready; control socket {}", control.socket.display());

    // This thread never waits for a file, a client or a reader of the log. So a signal that ends
    // the program always ends it.
    let reloads = Reloads::start(&daemon, path)?;
    for signal in signals.forever() {
        if signal != SIGHUP {
            info!("stopping on {}", if signal == SIGINT { "SIGINT" } else { "SIGTERM" });
            break;
        }
        reloads.ask();
    }

    daemon.stop();
    server.stop();
    reloads.stop();
    drop(daemon);
    let stopped = appliance.stop();
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
    Ok(ExitCode::SUCCESS)
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
    match daemon.handle(Request::ConfigReload { reason: None }) {
        Response::Applied { generation, warnings } => {
            warnings.iter().for_each(|warning| warn!("{}: {warning}", path.display()));
            info!("generation {generation} is in force on every worker");
        }
        Response::Error(refusal) => {
            error!("reload: {}", refusal.message);
            refusal.details.iter().for_each(|detail| error!("{}: {detail}", path.display()));
        }
        _ => error!("reload: unexpected reply"),
    }
}
