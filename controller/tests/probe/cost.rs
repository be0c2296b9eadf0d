//! What probes cost. Servers on the same machine, so a part of their kernel's work is counted too.
//!
//! `cargo test --release -p guideway-controller --test probe -- --ignored --nocapture cost`

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use guideway_config::CheckKind;
use guideway_controller::check::To;
use guideway_controller::check::probe::{Prepared, Untold, Way, probe};
use rustix::time::{ClockId, clock_gettime};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::checks::{LONG, check, https, request, runtime, tcp};
use crate::tls::{Identity, verified};

/// Probes that are under way at once.
const TOGETHER: u32 = 50;

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// Probes until the count is reached, and says what one took.
fn measure(what: &str, kind: CheckKind, at: SocketAddr, rounds: u32) {
    let prepared = Arc::new(Prepared::new(check(kind, LONG).into()).unwrap());
    let way = Way { to: To::Port(at), source: None };
    let (begin, cpu) = (Instant::now(), cpu_time());
    let failed = runtime().block_on(async {
        let mut failed = 0;
        for _ in 0..rounds {
            let probes: Vec<_> = (0..TOGETHER)
                .map(|_| {
                    let prepared = Arc::clone(&prepared);
                    tokio::spawn(async move { probe(&prepared, &way, &mut Untold).await })
                })
                .collect();
            for probe in probes {
                failed += u32::from(!probe.await.unwrap().code.is_success());
            }
        }
        failed
    });
    let count = rounds * TOGETHER;
    let (wall, cpu) = (begin.elapsed(), cpu_time() - cpu);
    println!(
        "{what}: {count} probes in {wall:.2?}, {:.1?} of CPU each: {:.0} per second of CPU",
        cpu / count,
        f64::from(count) / cpu.as_secs_f64()
    );
    assert_eq!(failed, 0);
}

fn serving(answer: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    for _ in 0..4 {
        let (listener, answer) = (listener.try_clone().unwrap(), Arc::clone(&answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap());
            }
        });
    }
    at
}

fn respond(mut stream: impl Read + Write) {
    if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell");
        let _ = stream.flush();
    }
}

fn with_tls(config: Arc<ServerConfig>) -> SocketAddr {
    serving(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        respond(&mut stream);
        stream.conn.send_close_notify();
        let _ = stream.conn.complete_io(&mut stream.sock);
    })
}

#[test]
#[ignore = "a measurement, in release"]
fn cost() {
    measure("tcp", tcp(None, None), serving(drop), 400);
    measure("http", CheckKind::Http(request()), serving(respond), 200);
    let identity = Identity::new(&["www.example"], 2090);
    let at = with_tls(identity.server());
    measure("https", CheckKind::Http(https()), at, 40);
    let mut http = https();
    http.tls = Some(verified(Some("www.example")));
    measure("https, verified", CheckKind::Http(http), at, 40);
}
