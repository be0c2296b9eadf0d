//! TCP: connections, and what is sent and expected.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use guideway_controller::check::To;
use guideway_controller::check::probe::Way;
use socket2::{Domain, Socket, Type};

use crate::checks::{AWHILE, LONG, SHORT, check, run, run_by, tcp};
use crate::script::{Act, send, server, server_at};

#[test]
fn a_connection_is_enough() {
    for ip in ["127.0.0.1", "::1"] {
        let run = run(check(tcp(None, None), LONG), server_at(ip, vec![Act::Hold]));
        assert_eq!(run.said(), ("L4OK", ""));
        assert_eq!(run.step_names(), ["connect"]);
        assert!(run.steps[0].detail.contains("from "), "{run:?}");
    }
}

/// The connection was open, whether the reset is seen or not.
#[test]
fn a_reset_at_once_is_after_the_connection() {
    for _ in 0..50 {
        let at = server(vec![Act::Reset]);
        assert_eq!(run(check(tcp(None, None), LONG), at).said(), ("L4OK", ""));
        let at = server(vec![Act::Reset]);
        assert_eq!(run(check(tcp(Some("hello"), Some("x")), LONG), at).code(), "L7RSP");
    }
}

#[test]
fn nobody_listens() {
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = run(check(tcp(None, None), LONG), at);
    assert_eq!(run.said(), ("L4CON", "the connection was refused"));
    assert_eq!(run.step_names(), ["connect"]);
}

/// A listener whose queue is full drops what comes.
#[test]
fn a_server_that_does_not_accept() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let at = listener.local_addr().unwrap().as_socket().unwrap();
    let waiting: Vec<Socket> = (0..3)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
            let _ = socket.connect(&at.into());
            socket
        })
        .collect();
    thread::sleep(Duration::from_millis(20));
    let run = run(check(tcp(None, None), SHORT), at);
    assert_eq!(run.said(), ("L4TOUT", "no connection within 150ms"));
    drop(waiting);
}

#[test]
fn what_is_expected_may_come_in_pieces() {
    let at = server(vec![
        Act::Drip(b"220 mail.example ".to_vec(), Duration::from_millis(1)),
        Act::Drip(b"ESMTP ready\r\n".to_vec(), Duration::from_millis(1)),
        Act::Hold,
    ]);
    let run = run(check(tcp(None, Some("ESMTP ready")), LONG), at);
    assert_eq!(run.said(), ("L7OK", ""));
    assert_eq!(run.step_names(), ["connect", "receive"]);
}

#[test]
fn what_is_sent_arrives() {
    let at = server(vec![Act::ReadRequest, send("pong"), Act::Hold]);
    let run = run(check(tcp(Some("ping\r\n\r\n"), Some("pong")), LONG), at);
    assert_eq!(run.said(), ("L7OK", ""));
    assert_eq!(run.step_names(), ["connect", "send", "receive"]);
    let at = server(vec![Act::ReadRequest, Act::Hold]);
    assert_eq!(crate::checks::run(check(tcp(Some("x"), None), LONG), at).said(), ("L4OK", ""));
}

#[test]
fn answers_that_are_not_what_is_expected() {
    let expecting = |acts, timeout| {
        let run = run(check(tcp(Some("ping\r\n\r\n"), Some("pong")), timeout), server(acts));
        let (code, detail) = run.said();
        (code, detail.to_owned())
    };
    let pung = || send("pung");
    let told = |code, detail: &str| (code, detail.to_owned());
    assert_eq!(
        expecting(vec![Act::ReadRequest, pung()], LONG),
        told("L7RSP", "the server closed after 4 bytes, without what is expected")
    );
    assert_eq!(
        expecting(vec![Act::ReadRequest, pung(), Act::Hold], AWHILE),
        told("L7TOUT", "4 bytes within 1s, without what is expected")
    );
    assert_eq!(expecting(vec![Act::Hold], SHORT), told("L7TOUT", "no answer within 150ms"));
    assert_eq!(
        expecting(vec![Act::ReadRequest, Act::Reset], LONG),
        told("L7RSP", "the connection was reset")
    );
    assert_eq!(
        expecting(vec![Act::SendForEver(b"pung".repeat(1000))], LONG),
        told("L7RSP", "what is expected is not in the first 65536 bytes")
    );
}

/// A server that takes nothing, and more to send than the kernel holds.
#[test]
fn what_is_sent_is_not_taken() {
    let at = server(vec![Act::Wait(SHORT * 2)]);
    let much = "x".repeat(32 << 20);
    let run = run(check(tcp(Some(&much), None), SHORT), at);
    assert_eq!(run.said(), ("L7TOUT", "the server did not take what is sent within 150ms"));
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap()
}

/// Neither side keeps the port in TIME_WAIT, so the next probe comes through at once.
#[test]
fn a_fixed_source_is_free_again_at_once() {
    let source = free_port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let seen = thread::spawn(move || {
        let mut seen = Vec::new();
        for round in 0..40 {
            let (mut stream, peer) = listener.accept().unwrap();
            seen.push(peer);
            let _ = std::io::Write::write_all(&mut stream, b"pong");
            if round % 2 == 0 {
                // The server waits for the client to close.
                let _ = std::io::Read::read(&mut stream, &mut [0; 8]);
            }
        }
        seen
    });
    for _ in 0..40 {
        let way = Way { to: To::Port(at), source: Some(source) };
        let run = run_by(check(tcp(None, Some("pong")), LONG), way);
        assert_eq!(run.said(), ("L7OK", ""));
    }
    assert_eq!(seen.join().unwrap(), vec![source; 40]);
}

#[test]
fn a_source_that_cannot_be_had_is_the_node_s_fault() {
    let at = server(vec![Act::Hold]);
    let taken = TcpListener::bind("127.0.0.2:0").unwrap();
    let way = |source| Way { to: To::Port(at), source: Some(source) };
    let run = run_by(check(tcp(None, None), LONG), way(taken.local_addr().unwrap()));
    let (code, detail) = run.said();
    assert!(code == "SOCKERR" && detail.contains("are in use"), "{run:?}");
    let foreign = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 77), 20_000));
    let run = run_by(check(tcp(None, None), LONG), way(foreign));
    let (code, detail) = run.said();
    assert!(code == "SOCKERR" && detail.contains("not this node's"), "{run:?}");
    assert_eq!(run.step_names(), ["socket"]);
}

#[test]
fn a_host_without_a_port_is_no_way_for_tcp() {
    let way = Way { to: To::Host(IpAddr::V4(Ipv4Addr::LOCALHOST)), source: None };
    assert_eq!(run_by(check(tcp(None, None), LONG), way).code(), "SOCKERR");
}
