//! Lines to a client, and why its connection may end.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use serde::Serialize;

use super::stop::{Stop, Wake, wait};

/// Why a connection ends before its client closes it.
pub(super) enum End {
    Stopped,
    /// Another connection took its permit while it was idle.
    Evicted,
    Slow(&'static str),
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Failed(error)
    }
}

/// The value as one line. JSON escapes newlines within strings, so the only newline is the last byte.
pub(super) fn encoded(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_else(|error| {
        // Only a map with keys that are not strings fails, and the protocol has none.
        tracing::error!(%error, "a reply is not JSON");
        br#"{"response":"error","body":{"kind":"failed","message":"the reply is not JSON"}}"#
            .to_vec()
    });
    line.push(b'\n');
    line
}

/// Writes all bytes, which the client has to take within `timeout`. It writes before it waits, so that the reply to a
/// request that was carried out during the stop is still sent.
pub(super) fn write(
    mut stream: &UnixStream,
    mut bytes: &[u8],
    stop: &Stop,
    timeout: Duration,
) -> Result<(), End> {
    let deadline = Instant::now() + timeout;
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if is_temporary(&error) => {
                match wait(stream, PollFlags::OUT, stop, Some(deadline))? {
                    Wake::Ready => {}
                    Wake::Stopped => return Err(End::Stopped),
                    Wake::Late => return Err(End::Slow("to take its reply")),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(super) fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
