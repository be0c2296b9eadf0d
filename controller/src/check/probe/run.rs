//! A probe, and its deadline.

use std::time::Duration;

use guideway_api::CheckCode;
use guideway_config::CheckKind;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::check::To;

use super::outcome::{Outcome, Steps};
use super::prepared::{Prepared, Session};
use super::socket::Way;
use super::trace::{Trace, Verdict};
use super::{echo, exchange, http, socket, tls};

/// Probes once. Ends within the check's timeout, whatever the peer does.
///
/// Must run on a runtime of tokio with I/O and time.
pub async fn probe(prepared: &Prepared, way: &Way, steps: &mut impl Steps) -> Outcome {
    let limit = prepared.check().timeout;
    let mut trace = Trace::new(steps);
    let ended = timeout(limit, speak(prepared, way, &mut trace)).await;
    let verdict = match ended {
        Ok(Ok(verdict) | Err(verdict)) => verdict,
        Err(_) => trace.out_of_time(limit),
    };
    trace.end(verdict)
}

async fn speak<S: Steps>(
    prepared: &Prepared,
    way: &Way,
    trace: &mut Trace<'_, S>,
) -> Result<Verdict, Verdict> {
    let check = prepared.check();
    let to = match (&check.kind, way.to) {
        (CheckKind::Ping, to) => return echo::ask(to.ip(), way.source, check.size, trace).await,
        (_, To::Port(to)) => to,
        (_, To::Host(_)) => {
            return Err(Verdict::failure(CheckCode::SockErr, "the probe has no port to go to"));
        }
    };
    if let CheckKind::Udp(what) = &check.kind {
        return exchange::over_udp(what, to, way.source, check.timeout, trace).await;
    }
    let mut stream = socket::connect(to, way.source, check.size, trace).await?;
    let verdict = match (&check.kind, prepared.session()) {
        (CheckKind::Tcp(what), _) => exchange::over_tcp(what, &mut stream, trace).await?,
        (_, Session::Plain) => match prepared.request() {
            Some(request) => http::ask(request, to, &mut stream, trace).await?,
            None => Verdict::success(CheckCode::L4Ok),
        },
        (_, Session::Tls(session)) => {
            let mut inner = tls::open(session, to.ip(), &mut stream, trace).await?;
            let verdict = match prepared.request() {
                Some(request) => http::ask(request, to, &mut inner, trace).await?,
                None => Verdict::success(CheckCode::L6Ok),
            };
            // The server is told that the session ends here, if that can be written at once.
            let _ = timeout(Duration::ZERO, inner.shutdown()).await;
            verdict
        }
    };
    if way.source.is_none() && prepared.exchanges() {
        close_in_order(&stream);
    }
    Ok(verdict)
}

/// Has the connection end by a FIN rather than by a reset.
fn close_in_order(stream: &TcpStream) {
    // If it cannot be set, a reset is the worst that happens.
    let _ = socket2::SockRef::from(stream).set_linger(None);
}
