//! Something is sent and something expected, over TCP or UDP.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use guideway_api::CheckCode;
use guideway_config::Exchange;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::outcome::Steps;
use super::search::Search;
use super::socket::{datagrams, own, receive, unreachable, words};
use super::trace::{Stage, Trace, Verdict};

/// Bytes of an answer over TCP in which what is expected is searched for.
const ANSWER_BYTES: usize = 64 << 10;
/// Bytes that are read at once.
const READ_BYTES: usize = 4 << 10;
/// No datagram is longer.
const DATAGRAM_BYTES: usize = 64 << 10;
/// How long "unreachable" is waited for where no answer is expected, but half the timeout at most. A router on the way
/// that has to find out first that a host is gone takes longer.
const REFUSAL_WAIT: Duration = Duration::from_millis(200);

/// Sends and expects over an open connection.
pub(super) async fn over_tcp<S: Steps>(
    what: &Exchange,
    stream: &mut TcpStream,
    trace: &mut Trace<'_, S>,
) -> Result<Verdict, Verdict> {
    let broken = |error: io::Error| Verdict::failure(CheckCode::L7Rsp, words(&error));
    if let Some(send) = &what.send {
        trace.enter(Stage::Send);
        stream.write_all(send).await.map_err(broken)?;
        trace.done(|| format!("{} bytes", send.len()));
    }
    let Some(expect) = &what.expect else { return Ok(Verdict::success(CheckCode::L4Ok)) };
    trace.enter(Stage::Receive);
    let mut search = Search::new(expect);
    let mut piece = [0; READ_BYTES];
    while trace.received < ANSWER_BYTES {
        let room = READ_BYTES.min(ANSWER_BYTES - trace.received);
        let read = stream.read(&mut piece[..room]).await.map_err(broken)?;
        if read == 0 {
            return Err(Verdict::failure(
                CheckCode::L7Rsp,
                format!(
                    "the server closed after {} bytes, without what is expected",
                    trace.received
                ),
            ));
        }
        trace.received += read;
        if search.found_in(&piece[..read]) {
            let received = trace.received;
            trace.done(|| format!("{received} bytes, with what is expected"));
            return Ok(Verdict::success(CheckCode::L7Ok));
        }
    }
    Err(Verdict::failure(
        CheckCode::L7Rsp,
        format!("what is expected is not in the first {ANSWER_BYTES} bytes"),
    ))
}

/// Sends a datagram, empty if there is nothing to send, and expects an answer or the absence of "unreachable".
pub(super) async fn over_udp<S: Steps>(
    what: &Exchange,
    to: SocketAddr,
    source: Option<SocketAddr>,
    limit: Duration,
    trace: &mut Trace<'_, S>,
) -> Result<Verdict, Verdict> {
    let socket = datagrams(to, source)?;
    trace.enter(Stage::Send);
    let send = what.send.as_deref().unwrap_or_default();
    socket.send(send).await.map_err(|error| own("send", &error))?;
    trace.done(|| format!("{} bytes to {to}", send.len()));
    trace.enter(Stage::Receive);
    let mut answer = vec![0; DATAGRAM_BYTES];
    let receive = receive(&socket, &mut answer);
    let Some(expect) = &what.expect else {
        return match timeout(REFUSAL_WAIT.min(limit / 2), receive).await {
            Ok(Err(error)) => Err(late(&error)),
            Ok(Ok(bytes)) => {
                trace.done(|| format!("{bytes} bytes"));
                Ok(Verdict::success(CheckCode::L4Ok))
            }
            Err(_) => {
                trace.done(|| "nothing says that the port is unreachable".to_owned());
                Ok(Verdict::success(CheckCode::L4Ok))
            }
        };
    };
    let bytes = receive.await.map_err(|error| late(&error))?;
    trace.received = bytes;
    if Search::new(expect).found_in(&answer[..bytes]) {
        trace.done(|| format!("{bytes} bytes, with what is expected"));
        Ok(Verdict::success(CheckCode::L7Ok))
    } else {
        Err(Verdict::failure(
            CheckCode::L7Rsp,
            format!("the answer's {bytes} bytes have not what is expected"),
        ))
    }
}

/// An ICMP error about the datagram.
fn late(error: &io::Error) -> Verdict {
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            Verdict::failure(CheckCode::L4Con, "the port is unreachable")
        }
        _ => unreachable(error),
    }
}
