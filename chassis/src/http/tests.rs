//! Real clients, well-behaved and not, at a real server.

mod answers;
mod bounds;
mod sockets;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use guideway_config::{Listen, Metrics};

use super::listener::Listener;
use super::{Answer, Handle, Limits, Pages, Query, Server};

/// The setting that has the server's names.
const HOSTS: &str = "metrics.hosts";

/// Within this time everything happens that should happen at once, on a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

/// A running server.
struct Rig {
    address: SocketAddr,
    handle: Handle,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(Limits::default(), pages())
    }

    fn with(limits: Limits, pages: Pages) -> Rig {
        let listen = vec![Listen::Tcp(([127, 0, 0, 1], 0).into())];
        let metrics = Metrics { listen, hosts: vec!["LB1.example".into()], max_series: 1000 };
        let mut server = Server::bind(&metrics.listen, (HOSTS, &metrics.hosts), None).unwrap();
        server.limits = limits;
        let [Listener::Tcp(listener)] = &server.listeners[..] else { panic!("one listener") };
        let address = listener.local_addr().unwrap();
        Rig { address, handle: server.start(pages).unwrap() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Sends some bytes, and nothing more. Returns everything that comes back.
    fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes.as_ref());
        let _ = stream.shutdown(Shutdown::Write);
        rest(&mut stream)
    }

    /// Asks for a page as a client does that closes the connection.
    fn get(&self, target: &str) -> Reply {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        Reply::of(&self.say(request))
    }

    /// The server still answers, and at once.
    fn is_fine(&self) {
        let begin = Instant::now();
        let reply = self.get("/healthz");
        assert_eq!((reply.status, &*reply.body), (200, r#"{"status":"ok"}"#));
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    }
}

/// Everything that comes until the server closes the connection.
fn rest(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error} after {} bytes", bytes.len()),
    }
    String::from_utf8(bytes).unwrap()
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    #[track_caller]
    fn of(text: &str) -> Reply {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("{text:?}"));
        Reply { status: status.parse().unwrap(), head: head.to_lowercase(), body: body.into() }
    }

    /// The value of a header.
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Pages that say which they are.
fn pages() -> Pages {
    with_metrics(|query| Ok(format!("{query:?}\n").into()))
}

fn with_metrics(
    metrics: impl Fn(&Query) -> Result<Bytes, String> + Send + Sync + 'static,
) -> Pages {
    let well = || Answer { is_well: true, body: r#"{"status":"ok"}"#.into() };
    let ill = || Answer { is_well: false, body: r#"{"status":"not_ready"}"#.into() };
    Pages {
        node: Arc::new(|| "Node1".to_owned()),
        metrics: Some(Arc::new(metrics)),
        healthz: Arc::new(well),
        readyz: Arc::new(ill),
    }
}
