//! Listeners.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::*;
use crate::http::Error;

/// A stop takes half a second at most, and the machine may be busy.
const AT_ONCE: Duration = Duration::from_secs(2);

fn on(listen: Vec<Listen>) -> Metrics {
    Metrics { listen, hosts: Vec::new(), max_series: 1000 }
}

fn unix(directory: &Path) -> (PathBuf, Metrics) {
    let path = directory.join("metrics.sock");
    (path.clone(), on(vec![Listen::Unix(path)]))
}

fn ask(path: &Path, host: &str) -> u16 {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET /healthz HTTP/1.1\r\n{host}Connection: close\r\n\r\n").unwrap();
    Reply::of(&rest(&mut stream)).status
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, metrics) = unix(directory.path());
    // A daemon that was killed leaves its socket.
    drop(UnixListener::bind(&path).unwrap());
    let handle = Server::bind(&metrics.listen, (HOSTS, &metrics.hosts), None)
        .unwrap()
        .start(pages())
        .unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(ask(&path, "Host: localhost\r\n"), 200);
    // No name is resolved to a path, so any may stand there.
    assert_eq!(ask(&path, "Host: evil.example\r\n"), 200);
    assert_eq!(ask(&path, ""), 400);
    let held = UnixStream::connect(&path).unwrap();
    let begin = Instant::now();
    handle.stop();
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    assert!(!path.exists());
    assert_eq!(rest(&mut &held), "");
}

#[test]
fn a_listener_that_cannot_be_bound_says_why() {
    let why = |metrics: &Metrics| {
        Server::bind(&metrics.listen, (HOSTS, &metrics.hosts), None)
            .err()
            .map(|e| e.to_string())
            .unwrap()
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    assert_eq!(
        why(&on(vec![Listen::Tcp(address)])),
        format!("{address}: another program listens there already; stop it or choose another port")
    );
    assert_eq!(
        why(&on(vec![Listen::Tcp("192.0.2.1:9420".parse().unwrap())])),
        "192.0.2.1:9420: this machine does not have the address"
    );
    let directory = tempfile::tempdir().unwrap();
    let (path, metrics) = unix(directory.path());
    let served = Server::bind(&metrics.listen, (HOSTS, &metrics.hosts), None).unwrap();
    assert!(matches!(
        Server::bind(&metrics.listen, (HOSTS, &metrics.hosts), None),
        Err(Error::Socket(_))
    ));
    drop(served);
    fs::write(&path, "precious").unwrap();
    assert!(why(&metrics).contains("is no socket"), "{}", why(&metrics));
}

#[test]
fn without_a_listener_there_is_no_thread() {
    let handle = Server::bind(&[], (HOSTS, &[]), None).unwrap().start(pages()).unwrap();
    assert!(handle.thread.is_none());
    handle.stop();
}

#[test]
fn both_families_may_have_the_same_port() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = [format!("0.0.0.0:{free}"), format!("[::]:{free}")];
    let listen = listen.map(|address| Listen::Tcp(address.parse().unwrap())).into();
    match Server::bind(&on(listen).listen, (HOSTS, &[]), None) {
        Ok(_) => {}
        // A machine without IPv6.
        Err(Error::System(address, _)) => assert!(address.is_ipv6()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_stop_closes_every_connection_whatever_it_is_at() {
    let (begun, begins) = std::sync::mpsc::channel();
    let slow = with_metrics(move |_| {
        begun.send(()).unwrap();
        std::thread::sleep(3 * AT_ONCE);
        Ok(Bytes::new())
    });
    let rig = Rig::with(Limits::default(), slow);
    let silent = rig.connect();
    let mut begun = rig.connect();
    begun.write_all(b"GET /heal").unwrap();
    let mut waiting = rig.connect();
    waiting.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    begins.recv_timeout(SOON).unwrap();
    rig.is_fine();
    let begin = Instant::now();
    rig.handle.stop();
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    for mut stream in [silent, begun, waiting] {
        assert_eq!(rest(&mut stream), "");
    }
}
