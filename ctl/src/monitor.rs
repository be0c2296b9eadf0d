//! `guidewayctl monitor`: what happens, as it happens.

use std::os::fd::AsFd;

use guideway_api::{Request, Response};
use guideway_client::Error as Unanswered;
use guideway_output::{print_part, report};

use crate::arguments::Arguments;
use crate::error::Error;
use crate::render::View;
use crate::terminal::{self, Wake};

/// Prints events until the daemon has no more, or nobody reads them.
pub(crate) fn monitor(
    arguments: &Arguments,
    request: &Request,
    mut view: View,
) -> Result<(), Error> {
    let follows = matches!(request, Request::Monitor { follow: true, .. });
    let gone = |error| match error {
        Unanswered::NoResponse { reason } => {
            Error::Gone { socket: arguments.target(request).1, reason }
        }
        error => Error::Client(error),
    };
    let mut client = arguments.connect(request)?;
    client.post(request)?;
    loop {
        if follows && !client.has_bytes() {
            // Nothing may happen for days, so no time limits this.
            match terminal::wait(Some(client.as_fd()), None).map_err(Error::Output)? {
                Wake::NoReader => return Ok(()),
                Wake::Readable | Wake::Time => {}
            }
        }
        let response = client.receive(request).map_err(gone)?;
        let has_more = match &response {
            Response::Events(events) => {
                if events.lost > 0 {
                    let s = if events.lost == 1 { "" } else { "s" };
                    report(format_args!("note: lost {} event{s}\n", events.lost));
                }
                events.more
            }
            _ => false,
        };
        let has_reader = print_part(view.render(&response).text).map_err(Error::Output)?;
        if !has_reader || !(follows || has_more) {
            return Ok(());
        }
    }
}
