//! The server from outside, over real sockets.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind as Io, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Barrier, Mutex};

use guideway_api::{
    Error as Unsendable, ErrorKind, FlowFilter, Greeting, Request, Response, Stats,
};

use super::*;
use crate::peer::Peer;

mod bounds;
mod monitor;

/// Longer than any step here takes, so that a failure does not hang.
const LONG: Duration = Duration::from_secs(30);
/// Bytes of a request, fewer than the real limit so that a slow build keeps the times.
const REQUEST: usize = 1 << 20;
/// Bytes of a request that needs no permit.
const SHORT_REQUEST: usize = REQUEST / 4;
/// More than the server reads at once.
const CHUNKS: usize = 64 << 10;
const SHORT: Duration = Duration::from_millis(300);

struct Client(BufReader<UnixStream>);

impl Client {
    /// Connects and takes the greeting.
    fn new(path: &Path) -> Client {
        let mut client = Client::ungreeted(path);
        let greeting: Greeting = serde_json::from_str(&client.line()).unwrap();
        assert_eq!(greeting, connection::greeting(Daemon::Forwarder));
        client
    }

    fn ungreeted(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The next line, empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) => {}
            // The server closed without reading all of our bytes.
            Err(error) if error.kind() == Io::ConnectionReset => {}
            Err(error) => panic!("{error}"),
        }
        line
    }

    fn reply(&mut self) -> Response {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn refusal(&mut self) -> Unsendable {
        match self.reply() {
            Response::Error(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, request: &Request) -> Response {
        self.send(encode(request));
        self.reply()
    }
}

fn encode(request: &Request) -> String {
    serde_json::to_string(request).unwrap() + "\n"
}

/// Replies to `stats` with zeros, to a flow listing with its limit, to a configuration with its text.
fn echo(request: Request) -> Response {
    match request {
        Request::Stats {} => Response::Stats(Stats::default()),
        Request::FlowList(FlowFilter { limit, .. }) => {
            Response::Applied { generation: limit.unwrap_or(0) as u64, warnings: vec![] }
        }
        Request::ConfigCheck { text } => Response::Config { text, generation: 0 },
        other => panic!("{other:?} is for a handler that panics"),
    }
}

fn limit(limit: usize) -> Request {
    Request::FlowList(FlowFilter { limit: Some(limit), ..FlowFilter::default() })
}

fn stats() -> Response {
    Response::Stats(Stats::default())
}

/// A running server in a directory of its own.
struct Site {
    handle: Option<Handle>,
    path: PathBuf,
    directory: tempfile::TempDir,
    events: Recorder,
}

impl Site {
    fn new() -> Site {
        Site::with(CONNECTIONS, CLIENT_TIMEOUT, echo)
    }

    fn with(
        connections: usize,
        client_timeout: Duration,
        handler: impl Fn(Request) -> Response + Send + Sync + 'static,
    ) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let mut server = Server::bind(Daemon::Forwarder, &path, None, Access::Full).unwrap();
        server.bounds = Bounds {
            connections,
            client_timeout,
            request_bytes: REQUEST,
            short_request_bytes: SHORT_REQUEST,
        };
        let events = Recorder::default();
        let handler = Arc::new(move |_: &Peer, request| handler(request));
        let handle = Some(server.start(handler, events.clone()));
        Site { handle, path, directory, events }
    }

    fn client(&self) -> Client {
        Client::new(&self.path)
    }
}

/// A handler that signals when it begins and then waits for [`Gate::finish_one`], and that gate.
fn gated() -> (impl Fn(Request) -> Response + Send + Sync + 'static, Gate) {
    let (begun, wait_begun) = mpsc::channel();
    let (finish, wait_finish) = mpsc::channel();
    let (begun, wait_finish) = (Mutex::new(begun), Mutex::new(wait_finish));
    let handler = move |request| {
        if matches!(request, Request::ConfigCheck { .. }) {
            begun.lock().unwrap().send(()).unwrap();
            wait_finish.lock().unwrap().recv_timeout(LONG).unwrap();
        }
        stats()
    };
    (handler, Gate { begun: wait_begun, finish })
}

struct Gate {
    begun: mpsc::Receiver<()>,
    finish: mpsc::Sender<()>,
}

impl Gate {
    fn wait_begun(&self) {
        self.begun.recv_timeout(LONG).unwrap();
    }

    fn finish_one(&self) {
        self.finish.send(()).unwrap();
    }
}

/// A request that the handler of [`gated`] holds, with so many bytes of text.
fn check(bytes: usize) -> String {
    encode(&Request::ConfigCheck { text: "x".repeat(bytes) })
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn makes_the_directory_and_sets_the_modes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run/guideway/guideway.sock");
    let server = Server::bind(Daemon::Forwarder, &path, None, Access::Full).unwrap();
    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(path.parent().unwrap()), 0o755);
    drop(server);
    assert!(!path.exists(), "a server that never started leaves its socket");
}

#[test]
fn refuses_a_group_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/socket");
    let error = Server::bind(
        Daemon::Forwarder,
        &path,
        Some(("control.group", "no-such-group")),
        Access::Full,
    )
    .unwrap_err();
    let text = "there is no group \"no-such-group\" on this machine, as control.group names it; \
                make it (`groupadd --system NAME`) or name another";
    assert_eq!(error.to_string(), text);
    let error = Server::bind(
        Daemon::Forwarder,
        &path,
        Some(("control.read_group", "no-such-group")),
        Access::Read,
    )
    .unwrap_err();
    assert!(error.to_string().contains("as control.read_group names it"), "{error}");
    assert!(!path.parent().unwrap().exists(), "it left something behind");
}

#[test]
fn a_stale_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _handle = Server::bind(Daemon::Forwarder, &path, None, Access::Full)
        .unwrap()
        .start(Arc::new(|_: &Peer, request| echo(request)), Recorder::default());
    assert_eq!(Client::new(&path).ask(&Request::Stats {}), stats());
}

#[test]
fn a_socket_in_use_is_refused() {
    let site = Site::new();
    let error = Server::bind(Daemon::Forwarder, &site.path, None, Access::Full).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    assert!(error.to_string().contains("another daemon serves"), "{error}");
    assert_eq!(site.client().ask(&Request::Stats {}), stats());

    // A daemon without a lock file that does not accept.
    let other = site.directory.path().join("other");
    let _listener = UnixListener::bind(&other).unwrap();
    assert!(matches!(
        Server::bind(Daemon::Forwarder, &other, None, Access::Full),
        Err(Error::InUse { .. })
    ));
    assert!(other.exists());
}

#[test]
fn a_file_that_is_no_socket_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(
        Server::bind(Daemon::Forwarder, &path, None, Access::Full),
        Err(Error::NotASocket { .. })
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn impossible_paths_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("x".repeat(108));
    assert!(matches!(
        Server::bind(Daemon::Forwarder, &long, None, Access::Full),
        Err(Error::TooLong { .. })
    ));
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error =
        Server::bind(Daemon::Forwarder, &file.join("socket"), None, Access::Full).unwrap_err();
    let Error::System { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), Io::NotADirectory);
    assert!(matches!(
        Server::bind(Daemon::Forwarder, Path::new(""), None, Access::Full),
        Err(Error::System { .. })
    ));
}

#[test]
fn clients_are_served_in_parallel_beside_half_a_request() {
    // Neither request gets its reply before both are being carried out.
    let both = Barrier::new(2);
    let site = Site::with(CONNECTIONS, LONG, move |_| {
        both.wait();
        stats()
    });
    let mut half = site.client();
    half.send(r#"{"request":"#);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(site.client().ask(&Request::Stats {}), stats()));
        }
    });
    half.send("7}\n");
    assert_eq!(half.refusal().kind, ErrorKind::BadRequest);
}

#[test]
fn half_a_request_is_dropped_and_an_idle_client_kept() {
    let site = Site::with(CONNECTIONS, SHORT, echo);
    let mut idle = site.client();
    let mut half = site.client();
    // A whole line first: the time for the rest counts from then on.
    half.send(encode(&Request::Stats {}) + "{");
    assert_eq!(half.reply(), stats());
    let begun = Instant::now();
    assert_eq!(half.line(), "");
    assert!(begun.elapsed() < LONG / 2);
    assert_eq!(idle.ask(&Request::Stats {}), stats());
}

#[test]
fn single_bytes_do_not_extend_the_timeout() {
    let site = Site::with(CONNECTIONS, SHORT, echo);
    let mut client = site.client();
    let begun = Instant::now();
    while client.0.get_mut().write_all(b" ").is_ok() {
        assert!(begun.elapsed() < LONG, "still connected");
        thread::sleep(SHORT / 10);
    }
}

#[test]
fn a_client_that_takes_no_reply_is_dropped() {
    let site = Site::with(1, SHORT, echo);
    let mut slow = site.client();
    // More than the buffers of both ends hold.
    let text = "x".repeat(REQUEST / 2);
    slow.send(encode(&Request::ConfigCheck { text }));
    let begun = Instant::now();
    loop {
        let mut next = Client::ungreeted(&site.path);
        next.line();
        // Refused while the other connection holds the only permit; the socket may be closed before it is asked.
        let _ = next.0.get_mut().write_all(encode(&Request::Stats {}).as_bytes());
        if next.reply() == stats() {
            break;
        }
        assert!(begun.elapsed() < LONG, "the permit is still held");
        thread::sleep(SHORT / 10);
    }
}

#[test]
fn pipelined_requests_get_replies_in_order() {
    let site = Site::new();
    let mut client = site.client();
    let lines: String = (0..1000).map(|number| encode(&limit(number))).collect();
    client.send(lines);
    for number in 0..1000 {
        let expected = Response::Applied { generation: number, warnings: vec![] };
        assert_eq!(client.reply(), expected);
    }
}

#[test]
fn garbage_is_refused_and_the_connection_goes_on() {
    let site = Site::new();
    let mut client = site.client();
    // xorshift64; newlines may be among the bytes.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20 {
        let mut garbage: Vec<u8> = (0..4000)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        garbage.push(b'\n');
        client.send(&garbage);
        for _ in 0..garbage.iter().filter(|&&byte| byte == b'\n').count() {
            assert_eq!(client.refusal().kind, ErrorKind::BadRequest);
        }
    }
    assert_eq!(client.ask(&Request::Stats {}), stats());
}

#[test]
fn many_empty_lines_are_refused_one_by_one() {
    let site = Site::new();
    let mut client = site.client();
    let mut sender = client.0.get_ref().try_clone().unwrap();
    let lines = 20_000;
    thread::scope(|scope| {
        scope.spawn(move || sender.write_all(&vec![b'\n'; lines]).unwrap());
        for _ in 0..lines {
            assert_eq!(client.refusal().kind, ErrorKind::BadRequest);
        }
    });
    assert_eq!(client.ask(&Request::Stats {}), stats());
}

#[test]
fn the_longest_request_is_served_and_a_longer_one_is_not() {
    let site = Site::new();
    let frame = encode(&Request::ConfigCheck { text: String::new() }).len();
    let text = "x".repeat(REQUEST - frame);
    let line = encode(&Request::ConfigCheck { text: text.clone() });
    assert_eq!(line.len(), REQUEST);
    let mut client = site.client();
    for _ in 0..2 {
        client.send(&line);
        assert_eq!(client.reply(), Response::Config { text: text.clone(), generation: 0 });
    }
    client.send(encode(&Request::ConfigCheck { text: text + "x" }));
    let refusal = client.refusal();
    assert_eq!(refusal.kind, ErrorKind::BadRequest);
    assert_eq!(refusal.message, "a request has at most 1048576 bytes");
    assert_eq!(client.line(), "");
}

#[test]
fn a_line_without_end_is_refused_while_it_is_sent() {
    let site = Site::with(CONNECTIONS, SHORT, echo);
    let mut client = site.client();
    // The server takes all of it, so that the client can read the reason.
    client.send(vec![b'x'; 3 * REQUEST]);
    assert_eq!(client.refusal().message, "a request has at most 1048576 bytes");
    assert_eq!(client.line(), "");
    let begun = Instant::now();
    while client.0.get_mut().write_all(&[b'x'; 4096]).is_ok() {
        assert!(begun.elapsed() < LONG, "still connected");
    }
}

#[test]
fn a_line_that_ends_with_the_stream_is_refused() {
    let site = Site::new();
    let mut client = site.client();
    client.send(encode(&Request::Stats {}) + r#"{"request":"stats"}"#);
    client.0.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.reply(), stats());
    assert_eq!(client.refusal().message, "the request ends without a newline");
    assert_eq!(client.line(), "");
}

#[test]
fn clients_that_vanish_do_no_harm() {
    let site = Site::new();
    for round in 0..100 {
        let mut client = site.client();
        // The client disconnects while idle, within a line, and before the reply.
        match round % 3 {
            0 => {}
            1 => client.send("{"),
            _ => client.send(encode(&Request::ConfigCheck { text: "x".repeat(500_000) })),
        }
    }
    assert_eq!(site.client().ask(&Request::Stats {}), stats());
}

#[test]
fn a_handler_that_panics_still_gets_a_reply() {
    let site = Site::new();
    let mut client = site.client();
    match client.ask(&Request::Status {}) {
        Response::Error(error) => assert_eq!(error.kind, ErrorKind::Failed),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.ask(&Request::Stats {}), stats());
}

#[test]
fn stop_ends_every_thread_and_removes_the_socket() {
    // Each thread borrows the handler, which holds this, so that the count shows when the last is gone.
    let token = Arc::new(());
    let captured = Arc::clone(&token);
    let mut site = Site::with(CONNECTIONS, LONG, move |request| {
        let _ = &captured;
        echo(request)
    });
    let mut idle = site.client();
    let mut half = site.client();
    half.send("{");
    let mut slow = site.client();
    slow.send(encode(&Request::ConfigCheck { text: "x".repeat(REQUEST / 2) }));
    let mut unread = [0; 1];
    slow.0.read_exact(&mut unread).unwrap();
    // One of them waits for its permit.
    let mut long: Vec<_> = (0..=MAX_LONG_REQUESTS).map(|_| site.client()).collect();
    for client in &mut long {
        client.send(vec![b'x'; SHORT_REQUEST + CHUNKS]);
    }

    let begun = Instant::now();
    site.handle.take().unwrap().stop();
    assert!(begun.elapsed() < LONG / 3, "{:?}", begun.elapsed());
    assert_eq!(Arc::strong_count(&token), 1);
    assert!(!site.path.exists());
    assert_eq!(idle.line(), "");
    assert_eq!(half.line(), "");

    drop(Server::bind(Daemon::Forwarder, &site.path, None, Access::Full).unwrap());
}

#[test]
fn stop_keeps_a_file_of_another_process() {
    let mut site = Site::new();
    fs::remove_file(&site.path).unwrap();
    fs::write(&site.path, "another's").unwrap();
    drop(site.handle.take());
    assert_eq!(fs::read_to_string(&site.path).unwrap(), "another's");
}

#[test]
fn the_request_in_progress_gets_its_reply_before_the_stop() {
    let (handler, gate) = gated();
    let mut site = Site::with(CONNECTIONS, CLIENT_TIMEOUT, handler);
    let mut client = site.client();
    client.send(check(1));
    gate.wait_begun();
    let handle = site.handle.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| handle.stop());
        // The stop has begun once the socket is gone.
        while site.path.exists() {
            thread::yield_now();
        }
        gate.finish_one();
    });
    assert_eq!(client.reply(), stats());
    assert_eq!(client.line(), "");
}

#[test]
fn each_daemon_refuses_the_requests_of_the_other() {
    for (daemon, own, other, place) in [
        (
            Daemon::Forwarder,
            r#"{"request":"stats"}"#,
            r#"{"request":"vip_list"}"#,
            "`vip_list` is for guideway-controller, by default at \
             /run/guideway-controller/controller.sock; this is guideway",
        ),
        (
            Daemon::Controller,
            r#"{"request":"node_show"}"#,
            r#"{"request":"stats"}"#,
            "`stats` is for guideway, by default at /run/guideway/guideway.sock; this is \
             guideway-controller",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let server = Server::bind(daemon, &path, None, Access::Full).unwrap();
        let handled = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&handled);
        let handler = Arc::new(move |_: &Peer, request: Request| {
            seen.lock().unwrap().push(request.name());
            stats()
        });
        let _handle = server.start(handler, Recorder::default());
        let mut client = Client::ungreeted(&path);
        let greeting: Greeting = serde_json::from_str(&client.line()).unwrap();
        assert_eq!(greeting.server, daemon.name());
        client.send(format!("{other}\n{own}\n"));
        let refusal = client.refusal();
        assert_eq!((refusal.kind, refusal.message.as_str()), (ErrorKind::BadRequest, place));
        assert_eq!(client.reply(), stats(), "the connection stays");
        assert_eq!(handled.lock().unwrap().len(), 1);
    }
}
