//! The thread `read`: the configuration in force, and the services that serve.
//!
//! A configuration is reported when every worker forwards by it. One that this release cannot read is said once, and
//! what was known stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use guideway_api::{Request, Response};
use guideway_client::{Client, Error};
use guideway_config as config;

use super::source::{Report, Source, unexpected};
use super::wake::Wake;

/// How often everything is read without an event.
const PERIOD: Duration = Duration::from_secs(2);

/// How long the thread waits for more events after the first.
const GATHERING: Duration = Duration::from_millis(20);

/// How long to wait for a configuration that is published to be in force, and for a connection.
const SOON: Duration = Duration::from_millis(100);

/// How long an answer may take: 16 MiB of configuration, or 65,535 services.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection, and what was read from it.
struct Reading {
    client: Client,
    process: i32,
    /// The generation that was read.
    generation: Option<u64>,
    serving: Option<Arc<BTreeMap<String, bool>>>,
}

/// Reads until the end.
pub(super) fn run<R: Fn(Report)>(source: &Source<R>, wake: &Wake) {
    let mut reading = None;
    loop {
        let is_settled = match look(source, &mut reading) {
            Ok(is_settled) => is_settled,
            Err(error) => {
                tracing::debug!("cannot read from the forwarder: {error}");
                reading = None;
                false
            }
        };
        if !wake.wait(if is_settled { PERIOD } else { SOON }) {
            return;
        }
        thread::sleep(GATHERING);
    }
}

/// Looks once. False if something is to be looked at again soon.
fn look<R: Fn(Report)>(source: &Source<R>, reading: &mut Option<Reading>) -> Result<bool, Error> {
    let Reading { client, process, generation, serving } = match reading {
        Some(reading) => reading,
        None => {
            let (client, process) = source.connect(TIMEOUT)?;
            reading.insert(Reading { client, process, generation: None, serving: None })
        }
    };
    let Response::Status(status) = client.send(&Request::Status {})? else {
        return Err(unexpected());
    };
    if status.generation_in_force == 0 {
        return Ok(false);
    }
    let in_force = status.generation_in_force == status.generation;
    if in_force && *generation != Some(status.generation) {
        let Response::Config { text, generation: found } = client.send(&Request::ConfigShow {})?
        else {
            return Err(unexpected());
        };
        if found != status.generation {
            return Ok(false);
        }
        *generation = Some(found);
        match config::parse(&text) {
            Ok(parsed) => {
                let configuration = Arc::new(parsed.configuration);
                let (process, generation) = (*process, found);
                (source.report)(Report::InForce { process, generation, configuration });
            }
            Err(mistakes) => tracing::error!(
                "cannot read the forwarder's configuration, and go on by the last one; are both of one \
                 release? {mistakes}"
            ),
        }
    }
    let Response::Services(services) = client.send(&Request::ServiceList {})? else {
        return Err(unexpected());
    };
    let serves = services.into_iter().map(|service| (service.name, service.serves));
    let found = Arc::new(serves.collect::<BTreeMap<String, bool>>());
    if serving.as_ref() != Some(&found) {
        *serving = Some(Arc::clone(&found));
        (source.report)(Report::Serving { process: *process, services: found });
    }
    Ok(in_force)
}
