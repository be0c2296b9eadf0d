//! UDP and echo requests.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use guideway_config::CheckKind;
use guideway_controller::check::To;
use guideway_controller::check::probe::Way;

use crate::checks::{LONG, SHORT, check, exchange, run, run_by};

fn udp(send: Option<&str>, expect: Option<&str>) -> CheckKind {
    CheckKind::Udp(exchange(send, expect))
}

/// Answers one datagram, if at all.
fn answering(ip: &str, answer: Option<&'static [u8]>) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 100];
        let (bytes, from) = socket.recv_from(&mut datagram).unwrap();
        assert!(bytes <= 5);
        match answer {
            Some(answer) => _ = socket.send_to(answer, from).unwrap(),
            None => thread::sleep(SHORT * 3),
        }
    });
    address
}

#[test]
fn udp_answers() {
    for ip in ["127.0.0.1", "::1"] {
        let asking = |answer, expect, timeout| {
            let run = run(check(udp(Some("ping"), expect), timeout), answering(ip, answer));
            let (code, detail) = run.said();
            (code, detail.to_owned())
        };
        let told = |code, detail: &str| (code, detail.to_owned());
        assert_eq!(asking(Some(b"a pong"), Some("pong"), LONG), told("L7OK", ""));
        assert_eq!(
            asking(Some(b"pung"), Some("pong"), LONG),
            told("L7RSP", "the answer's 4 bytes have not what is expected")
        );
        assert_eq!(asking(Some(b""), Some("pong"), LONG).0, "L7RSP");
        assert_eq!(asking(None, Some("pong"), SHORT), told("L7TOUT", "no answer within 150ms"));
        assert_eq!(asking(Some(b""), None, LONG), told("L4OK", ""));
        assert_eq!(asking(None, None, SHORT), told("L4OK", ""));
    }
}

#[test]
fn udp_is_unreachable() {
    for ip in ["127.0.0.1", "::1"] {
        let at = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
        for kind in [udp(Some("ping"), Some("pong")), udp(Some("ping"), None), udp(None, None)] {
            let run = run(check(kind, LONG), at);
            assert_eq!(run.said(), ("L4CON", "the port is unreachable"));
            assert_eq!(run.step_names(), ["send", "receive"]);
        }
    }
}

/// "Unreachable" is not waited for longer than is said.
#[test]
fn udp_without_an_answer_ends_soon() {
    let run = run(check(udp(None, None), LONG), answering("127.0.0.1", None));
    assert_eq!(run.said(), ("L4OK", ""));
    assert!(run.outcome.latency >= Duration::from_millis(200), "{run:?}");
    assert!(run.outcome.latency < LONG / 2, "{run:?}");
}

#[test]
fn a_datagram_that_is_too_long_is_the_node_s_fault() {
    let much = "x".repeat(66_000);
    let at = answering("127.0.0.1", None);
    let run = run(check(udp(Some(&much), None), LONG), at);
    let (code, detail) = run.said();
    assert!(code == "SOCKERR" && detail.contains("too long"), "{run:?}");
}

fn ping(to: &str, size: Option<u16>, source: Option<SocketAddr>) -> crate::checks::Run {
    let mut check = check(CheckKind::Ping, LONG);
    check.size = size;
    run_by(check, Way { to: To::Host(to.parse::<IpAddr>().unwrap()), source })
}

#[test]
fn the_kernel_answers_echo_requests() {
    for (to, source) in [("127.0.0.1", "127.0.0.2:777"), ("::1", "[::1]:777")] {
        // The longest packet of the loopback is 65,535 bytes for version 4; 65,536 is its MTU.
        for size in [None, Some(0), Some(44), Some(64), Some(1400), Some(9000), Some(65_535)] {
            for source in [None, Some(source.parse().unwrap())] {
                let run = ping(to, size, source);
                assert_eq!(run.said(), ("L4OK", ""), "{to} {size:?} {source:?}");
                assert_eq!(run.step_names(), ["send", "echo"]);
            }
        }
    }
}

#[test]
fn echo_requests_from_elsewhere_are_the_node_s_fault() {
    let run = ping("127.0.0.1", None, Some("192.0.2.77:777".parse().unwrap()));
    let (code, detail) = run.said();
    assert!(code == "SOCKERR" && detail.contains("not this node's"), "{run:?}");
}
