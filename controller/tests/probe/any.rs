//! Whatever a server does, a probe ends in time and with a code.

use std::net::UdpSocket;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use guideway_config::{CheckHttp, CheckKind, CheckTls};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::checks::{LONG, check, exchange, https, request, run, tcp};
use crate::script::{Act, server, tls_server};
use crate::tls::Identity;

const TIMEOUT: Duration = Duration::from_millis(60);

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::new(&["www.example"], 2090));

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let fragments = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 503 x\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "\r\n",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "hello",
        "\u{16}\u{3}\u{3}",
        "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{28}",
    ];
    prop_oneof![
        3 => proptest::sample::select(fragments.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..300),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => bytes().prop_map(Act::Send),
        3 => (0..30u64).prop_map(|wait| Act::Wait(Duration::from_millis(wait))),
        2 => (bytes(), 0..8u64)
            .prop_map(|(bytes, pause)| Act::Drip(bytes, Duration::from_millis(pause))),
        1 => bytes().prop_map(Act::SendForEver),
        1 => Just(Act::ReadRequest),
        1 => Just(Act::Reset),
        1 => Just(Act::Hold),
    ]
}

fn kind() -> impl Strategy<Value = CheckKind> {
    let expecting = || CheckHttp { expect: Some(b"hello".to_vec()), ..request() };
    prop_oneof![
        Just(tcp(None, None)),
        Just(tcp(Some("hi"), Some("hello"))),
        Just(CheckKind::Tls(CheckTls::default())),
        Just(CheckKind::Http(request())),
        Just(CheckKind::Http(expecting())),
        Just(CheckKind::Http(https())),
    ]
}

fn settings() -> Config {
    Config { cases: 48, failure_persistence: None, ..Config::default() }
}

// `run` holds each probe to its timeout.
proptest! {
    #![proptest_config(settings())]

    #[test]
    fn over_tcp(kind in kind(), acts in vec(act(), 0..8)) {
        run(check(kind, TIMEOUT), server(acts));
    }

    #[test]
    fn over_tls(acts in vec(act(), 0..8)) {
        let at = tls_server(IDENTITY.server(), acts);
        run(check(CheckKind::Http(https()), TIMEOUT), at);
    }

    #[test]
    fn over_udp(answers in vec(vec(any::<u8>(), 0..2000), 0..3), expects in any::<bool>()) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let said: Vec<u8> = answers.first().cloned().unwrap_or_default();
        let none = answers.is_empty();
        let server = thread::spawn(move || {
            let (_, from) = socket.recv_from(&mut [0; 10]).unwrap();
            // The probe may be content with the first one, and gone.
            answers.iter().all(|answer| socket.send_to(answer, from).is_ok())
        });
        let what = exchange(Some("hi"), expects.then_some("h"));
        // However busy the machine is, an answer comes in a while.
        let timeout = if none { TIMEOUT } else { LONG };
        let run = run(check(CheckKind::Udp(what), timeout), at);
        server.join().unwrap();
        let right = match (expects, none) {
            (true, false) if said.contains(&b'h') => "L7OK",
            (true, false) => "L7RSP",
            (true, true) => "L7TOUT",
            (false, _) => "L4OK",
        };
        prop_assert_eq!(run.code(), right, "{:?}", run);
    }
}
