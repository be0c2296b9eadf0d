//! `--watch`: the same question again and again, over one connection.
//!
//! If the daemon ends, the command waits until a daemon is there again. The counters of a daemon that was
//! restarted begin anew, so the first look at it has no rates.

use std::time::{Duration, Instant, SystemTime};

use guideway_api::{Request, Response};
use guideway_output::{print_part, report};
use humantime::{format_rfc3339_millis, format_rfc3339_seconds};

use crate::arguments::{Arguments, Output};
use crate::error::Error;
use crate::render::{Look, View};
use crate::request;
use crate::table::Rates;
use crate::terminal::{self, Wake};
use guideway_client::{Client, Error as Unanswered};

/// The longest time between two attempts to connect.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks every `every`, and prints each response, until nobody reads them.
pub(crate) fn watch(
    arguments: &Arguments,
    request: &Request,
    every: Duration,
    words: &str,
    mut view: View,
) -> Result<(), Error> {
    let mut client = arguments.connect(request)?;
    let mut is_first = true;
    // On a terminal the next picture hides a note, so that the header has it.
    let mut restarted = String::new();
    loop {
        let asked = Instant::now();
        let mut answer = client.send(request).map_err(Error::from);
        if let Err(error) = &answer
            && error.is_lost()
            && !is_first
        {
            let daemon = client.daemon();
            let Some(again) = reconnect(arguments, request, error, every)? else { return Ok(()) };
            client = again;
            // Otherwise the daemon closed a connection that was idle, so that another got its place.
            if client.daemon() != daemon {
                report("note: the daemon was restarted\n");
                restarted =
                    format!(", daemon restarted at {}", format_rfc3339_seconds(SystemTime::now()));
                view.look = None;
            }
            answer = client.send(request).map_err(Error::from);
        }
        let answer = answer.and_then(|mut response| {
            request::narrow(&mut response, &arguments.command)?;
            Ok(response)
        });
        match answer {
            Ok(response) => {
                let (time, every) = (SystemTime::now(), every.as_secs_f64());
                let header = format!(
                    "{}  every {every} s: {words}{restarted}",
                    format_rfc3339_seconds(time)
                );
                let time = format_rfc3339_millis(time).to_string();
                if !print(&mut view, &response, time, &header, is_first)? {
                    return Ok(());
                }
            }
            // What is asked for may come: a daemon, or a backend that the next configuration has.
            Err(error) if !is_first && error.may_pass() => error.report(),
            Err(error) => return Err(error),
        }
        is_first = false;
        let left = every.saturating_sub(asked.elapsed());
        if terminal::wait(None, Some(left)).map_err(Error::Output)? == Wake::NoReader {
            return Ok(());
        }
    }
}

/// Prints one response. False if nobody reads it.
fn print(
    view: &mut View,
    response: &Response,
    time: String,
    header: &str,
    is_first: bool,
) -> Result<bool, Error> {
    let came = Instant::now();
    match &mut view.look {
        Some(look) => {
            look.time = time;
            look.rates.look(came);
        }
        None => view.look = Some(Look { time, rates: Rates::new(came) }),
    }
    let rendered = view.render(response);
    let text = match view.output {
        Output::Table if view.screen.has_cursor => {
            // Below the picture, notes would move it.
            let header = terminal::line(header);
            terminal::picture(&format!("{header}\n{}\n{}", rendered.notes(), rendered.text))
        }
        Output::Table if !is_first => {
            report(rendered.notes());
            format!("\n{}", rendered.text)
        }
        _ => {
            report(rendered.notes());
            rendered.text
        }
    };
    print_part(text).map_err(Error::Output)
}

/// Connects again, at once if possible, and says so if not. None if nobody reads the result any more.
fn reconnect(
    arguments: &Arguments,
    request: &Request,
    error: &Error,
    every: Duration,
) -> Result<Option<Client>, Error> {
    let mut is_told = false;
    loop {
        match arguments.connect(request) {
            Ok(client) if is_told => {
                report("note: the daemon is back\n");
                return Ok(Some(client));
            }
            Ok(client) => return Ok(Some(client)),
            Err(Unanswered::Unreachable { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if !is_told {
            let reason = match error {
                Error::Client(
                    Unanswered::Unreachable { reason, .. } | Unanswered::NoResponse { reason },
                ) => reason,
                _ => "",
            };
            let reason = terminal::line(reason);
            report(format_args!("note: the daemon has gone ({reason}); waiting for it\n"));
            is_told = true;
        }
        if terminal::wait(None, Some(every.min(PATIENCE))).map_err(Error::Output)? == Wake::NoReader
        {
            return Ok(None);
        }
    }
}
