//! The thread `pulse`: does the forwarder answer, and is it well?
//!
//! A process that is stopped (SIGSTOP) still accepts connections, by its kernel, and answers nothing: it is *silent*.
//! One that has ended refuses connections: it is *absent*. Either is believed after `announce.stall` without an answer,
//! so that a connection that was closed for another client's sake costs nothing.

use std::time::{Duration, Instant};

use guideway_api::{Announcing, AnnouncingState, ForwarderState, Request, Response, Status};
use guideway_client::{Client, Error, is_listening};

use super::source::{Report, Source, unexpected};
use super::wake::Wake;

/// The shortest time from one attempt to connect to the next.
const RETRY: Duration = Duration::from_millis(100);

/// What was reported last.
type Pulse = (Option<i32>, ForwarderState, Option<Announcing>);

/// Asks until the end. Wakes the reader when the forwarder has another configuration in force.
pub(super) fn run<R: Fn(Report)>(source: &Source<R>, wake: &Wake, reader: &Wake) {
    let mut connection: Option<(Client, i32)> = None;
    let mut answered = Instant::now();
    let mut told: Option<Pulse> = None;
    let mut in_force = None;
    let mut complained = String::new();
    loop {
        let stall = wake.stall();
        let asked = ask(source, &mut connection, stall / 2);
        let pulse = match asked {
            Ok((process, status)) => {
                answered = Instant::now();
                complained.clear();
                let now = (process, status.generation_in_force);
                if in_force.replace(now) != Some(now) {
                    reader.ring();
                }
                Some((Some(process), state_of(&status), status.announcing))
            }
            Err(error) => {
                let words = error.to_string();
                if complained != words {
                    tracing::debug!("the forwarder does not answer: {words}");
                    if matches!(error, Error::Protocol { .. } | Error::NotIt { .. }) {
                        tracing::error!("cannot follow the forwarder: {words}");
                    }
                    complained = words;
                }
                // Nobody is there, or somebody else, or a forwarder that does not answer.
                let is_another = matches!(error, Error::Protocol { .. } | Error::NotIt { .. });
                let state = match !is_another && is_listening(&source.socket) {
                    true => ForwarderState::Silent,
                    false => ForwarderState::Absent,
                };
                (answered.elapsed() >= stall).then_some((None, state, None))
            }
        };
        if let Some(pulse) = pulse
            && told.as_ref() != Some(&pulse)
        {
            let (process, state, announcing) = pulse.clone();
            (source.report)(Report::Pulse { process, state, announcing });
            told = Some(pulse);
        }
        let pause = if connection.is_some() { stall / 4 } else { RETRY.min(stall / 4) };
        if !wake.wait(pause) {
            return;
        }
    }
}

/// Asks for the status, by a new connection if there is none.
fn ask<R>(
    source: &Source<R>,
    connection: &mut Option<(Client, i32)>,
    timeout: Duration,
) -> Result<(i32, Status), Error> {
    let (mut client, process) = match connection.take() {
        Some(connection) => connection,
        None => source.connect(timeout)?,
    };
    let Response::Status(status) = client.send(&Request::Status {})? else {
        return Err(unexpected());
    };
    *connection = Some((client, process));
    Ok((process, status))
}

/// How a forwarder is that answers.
fn state_of(status: &Status) -> ForwarderState {
    match status.announcing.as_ref().map(|announcing| &announcing.state) {
        _ if status.generation_in_force == 0 => ForwarderState::Starting,
        Some(AnnouncingState::Starting) => ForwarderState::Starting,
        Some(AnnouncingState::Up) => ForwarderState::Well,
        Some(_) | None => ForwarderState::Down,
    }
}
