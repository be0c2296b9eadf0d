//! The client against a daemon that hangs, lies, or is none.

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use guideway_api::{ErrorKind as Kind, Node};

use super::*;

const GREETING: &str = r#"{"server":"guideway","version":"0.1.0","protocol":7}"#;
/// Long enough for a busy machine, and short enough to wait for.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that a step with this timeout may take.
const LATE: Duration = Duration::from_secs(20);

/// A daemon at a socket of its own that runs `script` for one connection.
struct Peer {
    socket: PathBuf,
    _directory: tempfile::TempDir,
    thread: JoinHandle<()>,
}

impl Peer {
    fn new(script: impl FnOnce(UnixStream) + Send + 'static) -> Peer {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = thread::spawn(move || script(listener.accept().unwrap().0));
        Peer { socket, _directory: directory, thread }
    }

    /// One that greets, reads one request and answers with `response`.
    fn answers(response: Vec<u8>) -> Peer {
        Peer::new(move |mut stream| {
            writeln!(stream, "{GREETING}").unwrap();
            BufReader::new(&stream).read_line(&mut String::new()).unwrap();
            // The client may close before it has read everything.
            let _ = stream.write_all(&response);
        })
    }

    fn connect(&self) -> Result<Client, Error> {
        self.connect_within(TIMEOUT)
    }

    fn connect_within(&self, timeout: Duration) -> Result<Client, Error> {
        Client::connect(&self.socket, Daemon::Forwarder, timeout)
    }

    fn ask(self, request: &Request) -> Result<Response, Error> {
        let answer = self.connect()?.send(request);
        self.thread.join().unwrap();
        answer
    }
}

/// Sends spaces until the client has had enough.
fn drip(mut stream: &UnixStream) {
    while stream.write_all(b" ").is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_greeting_that_never_ends_is_given_up() {
    for script in
        [|mut stream: UnixStream| drop(stream.read(&mut [0])), |stream: UnixStream| drip(&stream)]
    {
        let peer = Peer::new(script);
        let begun = Instant::now();
        let error = peer.connect().unwrap_err();
        assert!(begun.elapsed() >= TIMEOUT && begun.elapsed() < LATE, "{:?}", begun.elapsed());
        let Error::Unreachable { wanted, reason, .. } = error else { panic!("{error:?}") };
        assert_eq!((wanted, &*reason), (Daemon::Forwarder, "nothing received within 1 s"));
        peer.thread.join().unwrap();
    }
}

#[test]
fn a_response_that_never_ends_is_given_up() {
    let peer = Peer::new(|mut stream| {
        writeln!(stream, "{GREETING}").unwrap();
        BufReader::new(&stream).read_line(&mut String::new()).unwrap();
        drip(&stream);
    });
    let begun = Instant::now();
    let error = peer.ask(&Request::Status {}).unwrap_err();
    assert!(begun.elapsed() >= TIMEOUT && begun.elapsed() < LATE, "{:?}", begun.elapsed());
    assert!(matches!(error, Error::NoResponse { .. }), "{error:?}");
}

#[test]
fn a_request_that_nobody_reads_is_given_up() {
    let peer = Peer::new(|mut stream| {
        writeln!(stream, "{GREETING}").unwrap();
        // More than the socket holds, and not read.
        thread::sleep(3 * TIMEOUT);
    });
    let text = "x".repeat(8 << 20);
    let error = peer.ask(&Request::ConfigCheck { text }).unwrap_err();
    let Error::Unreachable { reason, .. } = error else { panic!("{error:?}") };
    assert!(reason.starts_with("sending the request failed: "), "{reason}");
}

#[test]
fn a_response_has_an_end() {
    // So many bytes may take a busy machine a while.
    let begins = |bytes| {
        let peer = Peer::answers(vec![b' '; bytes]);
        let error = peer.connect_within(LATE).unwrap().send(&Request::Status {}).unwrap_err();
        peer.thread.join().unwrap();
        error
    };
    let Error::NoResponse { reason } = begins(MAX_RESPONSE + (1 << 20)) else { panic!() };
    assert_eq!(reason, "it is too long");
    let Error::NoResponse { reason } = begins(1 << 20) else { panic!() };
    assert_eq!(reason, "it closed the connection");
}

#[test]
fn what_is_no_response_is_refused() {
    for (response, words) in [
        (&b"\n"[..], "EOF"),
        (b"what?\n", "expected value"),
        (b"\xff\xfe\n", "expected value"),
        (b"[]\n", "invalid"),
        (br#"{"response":"weather","body":[]}"#, "unknown variant `weather`"),
        (br#"{"response":"vips","body":{}}"#, "invalid type"),
        (br#"{"response":"workers","body":[]}"#, "it is to another request"),
    ] {
        let response = [response, b"\n"].concat();
        let error = Peer::answers(response.clone()).ask(&Request::VipList {}).unwrap_err();
        let Error::Response { reason } = error else { panic!("{error:?}") };
        assert!(reason.contains(words), "{}: {reason}", response.escape_ascii());
    }
    let refusal = br#"{"response":"error","body":{"kind":"not_found","message":"no"}}"#;
    let error = Peer::answers([&refusal[..], b"\n"].concat()).ask(&Request::VipList {});
    let Err(Error::Refused(refusal)) = error else { panic!("{error:?}") };
    assert_eq!((refusal.kind, &*refusal.message), (Kind::NotFound, "no"));
}

#[test]
fn what_is_no_greeting_of_the_daemon_is_refused() {
    for greeting in [
        "",
        "220 mail.example ESMTP",
        "[]",
        r#"{"server":"other","version":"1","protocol":7}"#,
        // It is the other daemon.
        r#"{"server":"guideway-controller","version":"1","protocol":7}"#,
    ] {
        let peer = Peer::new(move |mut stream| {
            writeln!(stream, "{greeting}").unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "no request is sent");
        });
        let error = peer.connect().unwrap_err();
        assert!(matches!(error, Error::NotIt { wanted: Daemon::Forwarder, .. }), "{error:?}");
        peer.thread.join().unwrap();
    }
    let peer = Peer::new(|mut stream| {
        writeln!(stream, "{}", GREETING.replace(":7", ":8")).unwrap();
    });
    let error = peer.connect().unwrap_err();
    assert!(matches!(error, Error::Protocol { protocol: 8, .. }), "{error:?}");
}

#[test]
fn responses_come_in_the_order_of_their_requests() {
    let peer = Peer::new(|mut stream| {
        writeln!(stream, "{GREETING}").unwrap();
        let mut requests = BufReader::new(stream.try_clone().unwrap()).lines();
        for _ in 0..2 {
            requests.next().unwrap().unwrap();
        }
        // Both in one piece.
        let (vips, peers) = (r#""vips","body":[]"#, r#""bgp_peers","body":[]"#);
        write!(stream, "{{\"response\":{vips}}}\n{{\"response\":{peers}}}\n").unwrap();
    });
    let mut client = peer.connect().unwrap();
    client.post(&Request::VipList {}).unwrap();
    client.post(&Request::BgpList {}).unwrap();
    assert_eq!(client.receive(&Request::VipList {}).unwrap(), Response::Vips(vec![]));
    assert!(client.has_bytes(), "the second is here already");
    assert_eq!(client.receive(&Request::BgpList {}).unwrap(), Response::BgpPeers(vec![]));
    assert!(!client.has_bytes());
    peer.thread.join().unwrap();
}

/// No response is taken for another's.
#[test]
fn each_response_fits_its_request() {
    let node = Node {
        node: String::new(),
        version: String::new(),
        uptime_seconds: 0,
        forwarder: guideway_api::ForwarderState::Absent,
        forwarder_since: String::new(),
        generation: 0,
        bgp: None,
        drains: vec![],
        announced: 0,
        draining: 0,
        withdrawn: 0,
        restored_routes: 0,
        checks: None,
    };
    let order = guideway_api::NodeOrder::Drain;
    let pairs = [
        (Request::NodeShow {}, Response::Node(node.clone())),
        (
            Request::NodeSet { order, peers: vec![], reason: None },
            Response::NodeSet { node, changed: false, stored: true },
        ),
        (Request::VipList {}, Response::Vips(vec![])),
        (Request::BgpList {}, Response::BgpPeers(vec![])),
        (Request::BackendList {}, Response::Backends(vec![])),
    ];
    for (n, (request, _)) in pairs.iter().enumerate() {
        for (m, (_, response)) in pairs.iter().enumerate() {
            assert_eq!(fits(response, request), n == m, "{request:?}, {response:?}");
        }
    }
}

/// A daemon that hangs accepts nobody, so that its backlog fills.
#[test]
fn a_full_backlog_is_waited_for_and_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    assert!(!is_listening(&socket));
    let listener = UnixListener::bind(&socket).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1).unwrap()).unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = connect_at_once(&socket) {
        held.push(stream);
    }
    assert!(is_listening(&socket));
    let begun = Instant::now();
    let error = Client::connect(&socket, Daemon::Forwarder, TIMEOUT).unwrap_err();
    assert!(begun.elapsed() >= TIMEOUT && begun.elapsed() < LATE, "{:?}", begun.elapsed());
    assert!(error.to_string().contains("nothing received within 1 s"), "{error}");
    // Once there is room, a client that waits is connected.
    let accepting = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        listener.incoming().take(held.len() + 1).for_each(|stream| drop(stream.unwrap()));
    });
    let waited = connect(&socket, LATE);
    accepting.join().unwrap();
    assert!(waited.is_ok(), "{waited:?}");
    drop(waited);
    assert!(!is_listening(&socket), "nobody listens any more");
}
