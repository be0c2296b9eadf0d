//! Forwarders that lie, hang or talk nonsense: the controller announces nothing by them, and lives.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use guideway_api::{ForwarderState, PROTOCOL_VERSION};
use nix::sys::signal::Signal;

use crate::forwarder::{ANNOUNCE, Forwarder};
use crate::rig::Node0;
use crate::space::{INTERFACE, Metrics, in_namespace, make_interface, metrics, routes};

/// What a hostile forwarder does with a connection.
type Script = fn(UnixStream);

fn greeting(protocol: u32) -> String {
    format!("{{\"server\":\"guideway\",\"version\":\"9.9.9\",\"protocol\":{protocol}}}\n")
}

/// Answers each request with the same line.
fn repeat(mut stream: UnixStream, answer: &str) {
    let _ = stream.write_all(greeting(PROTOCOL_VERSION).as_bytes());
    let mut requests = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while requests.read_line(&mut line).is_ok_and(|read| read > 0) {
        if stream.write_all(format!("{answer}\n").as_bytes()).is_err() {
            return;
        }
        line.clear();
    }
}

/// Reads until the other side closes.
fn hold(mut stream: UnixStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

const SCRIPTS: [(&str, Script); 10] = [
    ("closes at once", drop),
    ("is silent", hold),
    ("greets and is silent", |mut stream| {
        let _ = stream.write_all(greeting(PROTOCOL_VERSION).as_bytes());
        hold(stream);
    }),
    ("talks nonsense", |mut stream| {
        let _ = stream.write_all(b"\0\xff\xfe HTTP/1.1 200 OK\n\n\n{]\n");
        hold(stream);
    }),
    ("is of another protocol", |mut stream| {
        let _ = stream.write_all(greeting(PROTOCOL_VERSION + 1).as_bytes());
        hold(stream);
    }),
    ("never ends a line", |mut stream| {
        let _ = stream.write_all(greeting(PROTOCOL_VERSION).as_bytes());
        let spaces = [b' '; 65536];
        while stream.write_all(&spaces).is_ok() {}
    }),
    ("answers something else", |stream| repeat(stream, r#"{"response":"hello"}"#)),
    ("answers nonsense", |stream| repeat(stream, r#"{"response":"status","node":7}"#)),
    ("refuses everything", |stream| {
        repeat(stream, r#"{"response":"error","kind":"failed","message":"no","details":[]}"#);
    }),
    ("answers twice", |stream| {
        repeat(stream, "{\"response\":\"hello\"}\n{\"response\":\"hello\"}");
    }),
];

/// Serves a script at a socket until it is dropped.
struct Hostile {
    is_over: Arc<AtomicBool>,
    path: std::path::PathBuf,
}

impl Hostile {
    fn start(path: std::path::PathBuf, script: Script) -> Hostile {
        let listener = UnixListener::bind(&path).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { return };
                thread::spawn(move || script(stream));
            }
        });
        Hostile { is_over, path }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        let _ = UnixStream::connect(&self.path);
        std::fs::remove_file(&self.path).unwrap();
    }
}

#[test]
fn no_forwarder_that_lies_is_believed() {
    in_namespace(|| {
        let node = Node0::new();
        make_interface(INTERFACE);
        let controller = node.start();
        for (name, script) in SCRIPTS {
            let hostile = Hostile::start(node.path("forwarder.sock"), script);
            thread::sleep(Duration::from_millis(1200));
            let shown = controller.show();
            let is_another = matches!(name, "talks nonsense" | "is of another protocol");
            let state = if is_another { ForwarderState::Absent } else { ForwarderState::Silent };
            assert_eq!(shown.forwarder, state, "{name}: {shown:?}");
            assert_eq!((shown.generation, routes(1000)), (0, Metrics::new()), "{name}");
            drop(hostile);
        }
        // A real one that comes after all of them is.
        let _forwarder = Forwarder::start(&node.path("forwarder.sock"), ANNOUNCE);
        let took =
            controller.until_routes(&metrics(&[("203.0.113.10", 1000), ("2001:db8:f::53", 1000)]));
        assert!(took < Duration::from_secs(8), "{took:?}");
        let (status, log) = controller.end(Signal::SIGTERM);
        assert_eq!(status.code(), Some(0));
        assert!(log.contains("speaks protocol"), "{log}");
    });
}

/// A forwarder that was well and then lies is no forwarder.
#[test]
fn a_forwarder_that_begins_to_lie_withdraws_everything() {
    in_namespace(|| {
        let node = Node0::new();
        make_interface(INTERFACE);
        let controller = node.start();
        for (name, script) in SCRIPTS {
            let forwarder = Forwarder::start(&node.path("forwarder.sock"), ANNOUNCE);
            controller.until_routes(&metrics(&[("203.0.113.10", 1000), ("2001:db8:f::53", 1000)]));
            drop(forwarder);
            let hostile = Hostile::start(node.path("forwarder.sock"), script);
            let took = controller.until_routes(&Metrics::new());
            assert!(took < Duration::from_secs(2), "{name}: {took:?}");
            drop(hostile);
        }
    });
}
