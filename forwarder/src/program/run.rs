//! `guideway run`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use guideway::appliance::{Appliance, Mode};
use guideway::control::server::Server;
use guideway_api::{Request, Response};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

pub(super) fn run(path: &Path) -> Result<ExitCode> {
    let Some((text, parsed)) = super::load(path)? else { return Ok(ExitCode::FAILURE) };
    // Before anything can be interrupted, so that a signal during the start still stops in order.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot handle signals")?;
    let socket = parsed.configuration.control.socket.clone();
    // First of all, so that a second appliance on the socket fails before it touches a device.
    let server = Server::bind(&socket)?;
    let appliance = Appliance::start(path.to_owned(), text, parsed, Mode::Live)?;
    let daemon = appliance.daemon().clone();
    let answering = daemon.clone();
    let server = server.start(Arc::new(move |request| answering.answer(request)));
    info!("ready; control socket {}", socket.display());

    for signal in signals.forever() {
        if signal != SIGHUP {
            info!("stopping on {}", if signal == SIGINT { "SIGINT" } else { "SIGTERM" });
            break;
        }
        match daemon.answer(Request::ConfigReload {}) {
            Response::Applied { generation, warnings } => {
                warnings.iter().for_each(|warning| warn!("{}: {warning}", path.display()));
                info!("generation {generation} is in force on every worker");
            }
            Response::Error(refusal) => {
                error!("reload: {}", refusal.message);
                refusal.details.iter().for_each(|detail| error!("{}: {detail}", path.display()));
            }
            _ => error!("reload: unexpected answer"),
        }
    }

    server.stop();
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
