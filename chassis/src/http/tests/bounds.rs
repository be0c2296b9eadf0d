//! Clients that use up what they can, and that the server is fine beside them and after them.

use std::io::{BufReader, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use crate::http::{CONNECTIONS, SCRAPES};

const SHORT: Duration = Duration::from_millis(300);
const REQUEST: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A page of 20 MB, of which there is one.
fn large() -> Pages {
    let page = Bytes::from("a 1\n".repeat(5 << 20));
    with_metrics(move |_| Ok(page.clone()))
}

/// Whether the server has closed the connection, within the time.
fn is_closed(stream: &TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    match (&mut &*stream).read(&mut [0]) {
        Ok(0) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        Ok(_) => panic!("an answer"),
    }
}

#[test]
fn a_request_that_does_not_end_is_dropped() {
    let limits = Limits { header: SHORT, idle: Duration::from_secs(600), ..Limits::default() };
    let rig = Rig::with(limits, pages());
    let silent = rig.connect();
    let begin = Instant::now();
    let mut slow = rig.connect();
    // A byte now and then does not buy time.
    for byte in REQUEST.bytes() {
        if slow.write_all(&[byte]).is_err() {
            break;
        }
        thread::sleep(SHORT / 3);
        if begin.elapsed() > SOON {
            panic!("the server waits for ever");
        }
    }
    assert!(is_closed(&slow, SOON));
    assert!(is_closed(&silent, SOON));
    rig.is_fine();

    // Neither does a first request that was quick.
    let mut second = BufReader::new(rig.connect());
    second.get_mut().write_all(format!("{REQUEST}GET /me").as_bytes()).unwrap();
    thread::sleep(SHORT / 2);
    second.get_mut().write_all(b"trics").unwrap();
    let begin = Instant::now();
    assert_eq!(Reply::of(&rest(&mut second)).status, 200);
    assert!(begin.elapsed() < SOON);
}

#[test]
fn an_idle_connection_is_closed() {
    let limits = Limits { idle: SHORT, header: Duration::from_secs(600), ..Limits::default() };
    let rig = Rig::with(limits, pages());
    let mut stream = rig.connect();
    stream.write_all(REQUEST.as_bytes()).unwrap();
    let begin = Instant::now();
    assert_eq!(Reply::of(&rest(&mut stream)).status, 200);
    assert!(begin.elapsed() >= SHORT);
}

#[test]
fn a_reader_that_takes_nothing_is_dropped_and_one_that_is_slow_is_not() {
    let limits = Limits { progress: 10 * SHORT, ..Limits::default() };
    let rig = Rig::with(limits, large());
    let mut never = rig.connect();
    never.write_all(REQUEST.as_bytes()).unwrap();
    let mut slow = rig.connect();
    slow.write_all(REQUEST.as_bytes()).unwrap();
    let begin = Instant::now();
    let mut bytes = vec![0; 512 << 10];
    let mut taken = 0;
    while begin.elapsed() < 16 * SHORT {
        taken += slow.read(&mut bytes).unwrap();
        thread::sleep(SHORT / 2);
    }
    taken += rest(&mut slow_to_end(slow)).len();
    assert!(taken > 20 << 20, "{taken}");
    // What lies in the sockets is all that the other one gets.
    let got = rest(&mut never).len();
    assert!(got < 20 << 20, "{got}");
    rig.is_fine();
}

/// The stream, without a pause.
fn slow_to_end(stream: TcpStream) -> impl Read {
    // The connection stays open after the answer.
    let _ = stream.shutdown(Shutdown::Write);
    BufReader::with_capacity(1 << 20, stream)
}

#[test]
fn an_answer_that_lasts_too_long_is_cut_off() {
    let limits = Limits { answer: 3 * SHORT, ..Limits::default() };
    let rig = Rig::with(limits, large());
    let mut slow = rig.connect();
    slow.write_all(REQUEST.as_bytes()).unwrap();
    let mut taken = 0;
    let mut bytes = vec![0; 64 << 10];
    let begin = Instant::now();
    loop {
        match slow.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(n) => taken += n,
        }
        assert!(begin.elapsed() < 2 * SOON);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(taken < 20 << 20, "{taken}");

    // A page that is not made in time is none.
    let limits = Limits { answer: SHORT, ..Limits::default() };
    let late = with_metrics(|_| {
        thread::sleep(4 * SHORT);
        Ok(Bytes::new())
    });
    let rig = Rig::with(limits, late);
    assert_eq!(rig.say(REQUEST), "");
    rig.is_fine();
}

#[test]
fn half_open_connections_give_way() {
    let rig = Rig::new();
    let begin = Instant::now();
    let mut held = Vec::new();
    for n in 0..1000 {
        let mut stream = rig.connect();
        if n % 2 == 0 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").unwrap();
        }
        held.push(stream);
        if n % 100 == 99 {
            rig.is_fine();
        }
    }
    // The oldest went first. The last ones are there still, unless the machine was slow.
    assert!(is_closed(&held[0], SOON));
    let mut last = held.pop().unwrap();
    if last.write_all(REQUEST.as_bytes()).is_ok() && begin.elapsed() < Duration::from_secs(4) {
        let _ = last.shutdown(Shutdown::Write);
        assert_eq!(Reply::of(&rest(&mut last)).status, 200);
    }
    rig.is_fine();
    drop(held);
    rig.is_fine();
}

#[test]
fn a_connection_too_many_is_told_so() {
    let limits = Limits { connections: 3, ..Limits::default() };
    let gate = Arc::new(Mutex::new(()));
    let (closed, begun) = (Arc::clone(&gate), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&begun);
    let mut pages = with_metrics(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        drop(closed.lock());
        Ok(Bytes::from("done\n"))
    });
    pages.readyz = Arc::clone(&pages.healthz);
    let rig = Rig::with(limits, pages);
    let open = gate.lock().unwrap();
    let mut waiting: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = rig.connect();
            stream.write_all(REQUEST.as_bytes()).unwrap();
            stream
        })
        .collect();
    // Two threads make pages; the third request is read, and waits.
    let begin = Instant::now();
    while begun.load(Ordering::SeqCst) < 2 {
        assert!(begin.elapsed() < SOON);
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(3 * SHORT);
    let refused = Reply::of(&rig.say(REQUEST));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.body, "too many connections\n");
    assert_eq!(refused.header("content-length"), Some(&*refused.body.len().to_string()));
    drop(open);
    for stream in &mut waiting {
        let _ = stream.shutdown(Shutdown::Write);
        assert_eq!(Reply::of(&rest(stream)).body, "done\n");
    }
    rig.is_fine();
}

#[test]
fn health_is_answered_beside_slow_readers_and_a_slow_page() {
    let page = Bytes::from("a 1\n".repeat(5 << 20));
    let pages = with_metrics(move |query| {
        if query.name == ["slow"] {
            thread::sleep(SHORT);
        }
        Ok(page.clone())
    });
    let rig = Rig::with(Limits::default(), pages);
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut stream = rig.connect();
        stream.write_all(REQUEST.as_bytes()).unwrap();
        held.push(stream);
    }
    let mut slow = rig.connect();
    slow.write_all(REQUEST.replace("metrics", "metrics?name=slow").as_bytes()).unwrap();
    let mut times: Vec<_> = (0..50)
        .map(|_| {
            let begin = Instant::now();
            rig.is_fine();
            begin.elapsed()
        })
        .collect();
    times.sort();
    // The median and a generous limit, because the machine may be busy.
    assert!(times[25] < Duration::from_millis(250), "{times:?}");
}

#[test]
fn clients_that_ask_and_read_nothing_do_not_keep_others_from_health() {
    let mut pages = pages();
    let body = "x".repeat(64 << 10);
    pages.readyz = Arc::new(move || Answer { is_well: true, body: body.clone().into() });
    let rig = Rig::with(Limits::default(), pages);
    // Answers of 32 MB for each client, far more than lies in the sockets.
    let requests = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
    let held: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = rig.connect();
            stream.write_all(requests.as_bytes()).unwrap();
            stream
        })
        .collect();
    for stream in &held {
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
    }
    let begin = Instant::now();
    loop {
        let reply = rig.get("/healthz");
        if reply.status == 200 {
            break;
        }
        assert_eq!(reply.body, "too many connections\n");
        assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
    // From now on there is room at once.
    rig.is_fine();
}

#[test]
fn slow_readers_do_not_keep_others_from_metrics_for_long() {
    let limits = Limits { scrape: 8 * SHORT, ..Limits::default() };
    let rig = Rig::with(limits, large());
    let held: Vec<_> = (0..SCRAPES)
        .map(|_| {
            let mut stream = rig.connect();
            stream.write_all(REQUEST.as_bytes()).unwrap();
            stream
        })
        .collect();
    // Until all have their page.
    for stream in &held {
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
    }
    let reply = rig.get("/metrics");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    thread::sleep(8 * SHORT);
    assert_eq!(rig.get("/metrics").body.len(), 20 << 20);
    rig.is_fine();
}

#[test]
fn large_headers_are_refused() {
    let rig = Rig::new();
    let request =
        |header: &str| format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
    let long = |bytes: usize| format!("A: {}\r\n", "a".repeat(bytes));
    assert_eq!(Reply::of(&rig.say(request(&long(15_000)))).status, 200);
    // The kernel may discard an answer of a server that closes before it has read everything.
    for bytes in [17_000, 1 << 20, 20 << 20] {
        let text = rig.say(request(&long(bytes)));
        assert!(text.is_empty() || Reply::of(&text).status == 431, "{bytes}: {text}");
    }
    let many = |lines: usize| "A: b\r\n".repeat(lines);
    assert_eq!(Reply::of(&rig.say(request(&many(60)))).status, 200);
    assert_eq!(Reply::of(&rig.say(request(&many(64)))).status, 431);
    let query = |bytes: usize| format!("/metrics?name={}", "a".repeat(bytes));
    assert_eq!(rig.get(&query(15_000)).status, 200);
    assert!([414, 431].contains(&rig.get(&query(17_000)).status));
    rig.is_fine();
}

#[test]
fn garbage_is_refused() {
    let rig = Rig::new();
    let mut seed = 1_u64;
    let mut noise = |bytes: usize| -> Vec<u8> {
        let mut byte = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed.to_be_bytes()[0]
        };
        (0..bytes).map(|_| byte()).collect()
    };
    let mut said: Vec<Vec<u8>> = (0..50).map(|n| noise(n * 37)).collect();
    said.extend(
        [
            "",
            "\r\n",
            "GET /healthz\r\n\r\n",
            "GET /healthz\n\n",
            "GET\r\n\r\n",
            "GET /healthz HTTP/3.7\r\n\r\n",
            "GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /h\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: \x7f\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
            "{\"request\":\"status\"}\n",
        ]
        .map(|text| text.as_bytes().to_vec()),
    );
    for bytes in said {
        let text = rig.say(&bytes);
        assert!(
            text.is_empty() || (400..500).contains(&Reply::of(&text).status),
            "{bytes:?}: {text}"
        );
    }
    rig.is_fine();
}

#[test]
fn a_client_that_goes_leaves_nothing() {
    let limits = Limits { connections: 4, ..Limits::default() };
    let rig = Rig::with(limits, large());
    for n in 0..100 {
        let mut stream = rig.connect();
        let part = if n % 2 == 0 { REQUEST } else { "GET /me" };
        stream.write_all(part.as_bytes()).unwrap();
        drop(stream);
        // The server hears of the end a little later.
        let begin = Instant::now();
        while rig.get("/healthz").status != 200 {
            assert!(begin.elapsed() < SOON);
        }
    }
}
