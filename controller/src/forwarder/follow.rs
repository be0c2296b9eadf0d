//! The thread `follow`: wakes the reader when the forwarder has an event about its configuration or its backends.

use std::thread;
use std::time::Duration;

use guideway_api::Request;
use guideway_client::Error;
use rustix::event::{PollFd, PollFlags, poll};

use super::source::{Report, Source};
use super::wake::Wake;

/// The time from one attempt to connect to the next.
const RETRY: Duration = Duration::from_millis(200);

/// How long the forwarder may take to greet, and to send the rest of a line.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Events after which a service may serve that did not, or the other way round.
const KINDS: [&str; 13] = [
    "daemon_ready",
    "config_applied",
    "manager_restarted",
    "backend_state",
    "backend_states",
    "backend_weight",
    "pool_empty",
    "pool_serving",
    "pool_states",
    "backup_stands_in",
    "backup_gives_way",
    "announcing_began",
    "announcing_ended",
];

/// Follows until the process ends.
pub(super) fn run<R: Fn(Report)>(source: &Source<R>, reader: &Wake) {
    loop {
        // Whatever went wrong, `pulse` says it.
        let _ended = follow(source, reader);
        reader.ring();
        thread::sleep(RETRY);
    }
}

fn follow<R>(source: &Source<R>, reader: &Wake) -> Result<(), Error> {
    let (mut client, _) = source.connect(TIMEOUT)?;
    let kinds = KINDS.map(str::to_owned).to_vec();
    let request = Request::Monitor { since: Some(0), instance: None, kinds, follow: true };
    client.post(&request)?;
    loop {
        if !client.has_bytes() {
            // Nothing may happen for days.
            let waited = poll(&mut [PollFd::new(&client, PollFlags::IN)], None);
            if waited.is_err_and(|errno| errno != rustix::io::Errno::INTR) {
                return Ok(());
            }
        }
        client.receive(&request)?;
        reader.ring();
    }
}

#[cfg(test)]
mod tests {
    use guideway_api::Happening;

    use super::*;

    #[test]
    fn the_kinds_are_kinds() {
        for kind in KINDS {
            assert!(Happening::KINDS.iter().any(|&(name, ..)| name == kind), "{kind}");
        }
    }
}
