//! HTTP: what servers answer, and what they should not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use guideway_config::{CheckHttp, CheckKind, DrainSign};

use crate::checks::{AWHILE, LONG, Run, SHORT, check, request, run};
use crate::script::{Act, send, server};

fn ask(http: CheckHttp, timeout: Duration, acts: Vec<Act>) -> Run {
    run(check(CheckKind::Http(http), timeout), server(acts))
}

/// The request is read, and this is the answer.
fn answered(http: CheckHttp, answer: &str) -> Run {
    ask(http, LONG, vec![Act::ReadRequest, send(answer)])
}

fn expecting(text: &str) -> CheckHttp {
    CheckHttp { expect: Some(text.as_bytes().to_vec()), ..request() }
}

#[test]
fn a_good_answer() {
    let run = answered(request(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(run.said(), ("L7OK", ""));
    assert_eq!(run.outcome.status, Some(200));
    assert_eq!(run.step_names(), ["connect", "response", "body"]);
    assert_eq!(run.steps[1].detail, "status 200 OK");
    assert_eq!(run.steps[2].detail, "2 bytes");
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert_eq!(answered(request(), answer).said(), ("L7OK", ""), "{answer}");
    }
}

#[test]
fn statuses() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry";
    let run = answered(request(), answer);
    assert_eq!(run.said(), ("L7STS", "the response's status 503 is not expected"));
    assert_eq!(run.outcome.status, Some(503));
    let run = answered(CheckHttp { statuses: vec![200..=204, 500..=503], ..request() }, answer);
    assert_eq!(run.said(), ("L7OK", ""));
    // Whatever else is wrong with it: the body is not read.
    let run = ask(
        request(),
        LONG,
        vec![Act::ReadRequest, send("HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\n"), Act::Hold],
    );
    assert_eq!(run.code(), "L7STS");
}

#[test]
fn bodies() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\nall is well today";
    assert_eq!(answered(expecting("well"), answer).said(), ("L7OK", ""));
    assert_eq!(answered(expecting(""), answer).said(), ("L7OK", ""));
    assert_eq!(
        answered(expecting("ill"), answer).said(),
        ("L7RSP", "the body's 17 bytes have not what is expected")
    );
    // Across chunks, and across writes.
    let run = ask(
        expecting("well"),
        LONG,
        vec![
            Act::ReadRequest,
            send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall iw\r\n"),
            Act::Wait(Duration::from_millis(20)),
            send("1\r\ne\r\n2\r\nll\r\n"),
            Act::Hold,
        ],
    );
    assert_eq!(run.said(), ("L7OK", ""));
    // The limit counts the body's bytes alone.
    let limited = |body_limit| CheckHttp { body_limit, ..expecting("well") };
    assert_eq!(answered(limited(11), answer).said(), ("L7OK", ""));
    assert_eq!(
        answered(limited(10), answer).said(),
        ("L7RSP", "what is expected is not in the body's first 10 bytes")
    );
}

/// Bodies without an end are read as far as the limit.
#[test]
fn endless_bodies() {
    let acts = || {
        vec![
            Act::ReadRequest,
            send("HTTP/1.1 200 OK\r\n\r\n"),
            Act::SendForEver(b"well? ".repeat(1000)),
        ]
    };
    assert_eq!(ask(request(), LONG, acts()).said(), ("L7OK", ""));
    assert_eq!(ask(expecting("well?"), LONG, acts()).said(), ("L7OK", ""));
    assert_eq!(
        ask(expecting("ill"), LONG, acts()).said(),
        ("L7RSP", "what is expected is not in the body's first 65536 bytes")
    );
}

#[test]
fn servers_ask_to_be_drained() {
    let header = |name: &str, value: Option<&str>| {
        DrainSign::Header(name.to_owned(), value.map(str::to_owned))
    };
    let draining = |sign| CheckHttp { drain_signs: vec![sign], ..request() };
    let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let asked = "HTTP/1.1 200 OK\r\nX-Drain: Yes\r\nContent-Length: 0\r\n\r\n";
    for (sign, answer, code) in [
        (DrainSign::Status(404..=404), gone, "L7OKC"),
        (DrainSign::Status(500..=503), gone, "L7STS"),
        (header("x-drain", None), asked, "L7OKC"),
        (header("x-drain", Some("yes")), asked, "L7OKC"),
        (header("x-drain", Some("no")), asked, "L7OK"),
        (header("x-other", None), asked, "L7OK"),
        (header("not a name", None), asked, "L7OK"),
    ] {
        let run = answered(draining(sign.clone()), answer);
        assert_eq!(run.code(), code, "{sign:?} {run:?}");
        assert!(run.outcome.detail.is_empty() == run.outcome.code.is_success());
    }
}

#[test]
fn servers_without_manners() {
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1000));
    let malformed = "the response is malformed";
    let closed = "the server closed before the response was whole";
    let too_long = "the response's head is longer than 65536 bytes or 128 headers";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let reset = "the connection was reset";
    for (acts, words) in [
        (vec![send("SSH-2.0-OpenSSH_9.2p1\r\n")], malformed),
        (vec![send("<html>of version 0.9</html>\r\n")], malformed),
        (vec![send("\0\u{1}\u{2}\r\n\r\n")], malformed),
        (vec![send("HTTP/1.1 2000 OK\r\n\r\n")], malformed),
        (vec![send("HTTP/3.0 200 OK\r\n\r\n")], malformed),
        (vec![send("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")], malformed),
        (vec![send(&huge)], too_long),
        (vec![send(&many)], too_long),
        (vec![], closed),
        (vec![send("HTTP/1.1 200 OK\r\nContent-Le")], closed),
        (vec![send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")], "end of file"),
        (vec![send(chunked), send("4\r\nfo")], "end of file"),
        (vec![send(chunked), send("zz\r\nfour\r\n0\r\n\r\n")], "Invalid chunk size"),
        (vec![send(chunked), send("4\r\nfourfive\r\n0\r\n\r\n")], "Invalid chunk"),
        (vec![send(chunked), send("fffffffffffffffff\r\n")], "overflow"),
        (vec![Act::Reset], reset),
        (vec![send("HTTP/1.1 200 OK\r\n"), Act::Reset], reset),
        (vec![send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour"), Act::Reset], reset),
    ] {
        let said = format!("{acts:?}");
        let run = ask(request(), LONG, [vec![Act::ReadRequest], acts].concat());
        let (code, detail) = run.said();
        assert!(code == "L7RSP" && detail.contains(words), "{said:.200}: {code} {detail}");
    }
}

/// However early the server goes, its connection was there.
#[test]
fn servers_that_do_not_read() {
    for _ in 0..30 {
        for acts in [vec![], vec![Act::Reset], vec![send("HTTP/1.1 200"), Act::Reset]] {
            let run = ask(request(), LONG, acts);
            assert_eq!(run.code(), "L7RSP", "{run:?}");
        }
    }
}

#[test]
fn servers_that_take_their_time() {
    let second = Duration::from_secs(1);
    let head = || send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    for (acts, words) in [
        (vec![Act::Hold], "no response within 150ms"),
        (vec![Act::ReadRequest, Act::Hold], "no response within 150ms"),
        (vec![Act::Drip(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), second)], "no response within 150ms"),
        (
            vec![Act::ReadRequest, Act::SendForEver(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())],
            "no response within 150ms",
        ),
    ] {
        let said = format!("{acts:?}");
        let run = ask(request(), SHORT, acts);
        let (code, detail) = run.said();
        assert!(code == "L7TOUT" && detail.starts_with(words), "{said:.200}: {code} {detail}");
    }
    for (acts, words) in [
        (vec![head(), Act::Hold], "the response's body was not whole within 1s: 0 bytes came"),
        (
            vec![head(), Act::Drip(b"123456789".to_vec(), second / 5)],
            "the response's body was not whole within 1s: ",
        ),
    ] {
        let run = ask(request(), AWHILE, [vec![Act::ReadRequest], acts].concat());
        let (code, detail) = run.said();
        assert!(code == "L7TOUT" && detail.starts_with(words), "{run:?}");
    }
}

/// What the server sees of a request.
fn seen(http: CheckHttp, size: Option<u16>) -> (String, Run) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        let text = String::from_utf8(request).unwrap();
        text.replace(&at.to_string(), "ADDRESS").to_lowercase()
    });
    let mut check = check(CheckKind::Http(http), LONG);
    check.size = size;
    let run = run(check, at);
    (server.join().unwrap(), run)
}

#[test]
fn the_request_is_as_it_is_configured() {
    let (request_seen, run) = seen(request(), None);
    assert_eq!(run.code(), "L7OK");
    for line in ["get / http/1.1\r\n", "host: address\r\n", "connection: close\r\n"] {
        assert!(request_seen.contains(line), "{request_seen}");
    }
    let http = CheckHttp {
        method: "OPTIONS".to_owned(),
        path: "/health?full=1".to_owned(),
        host: Some("www.example".to_owned()),
        headers: vec![
            ("X-One".to_owned(), "1".to_owned()),
            ("X-One".to_owned(), "2".to_owned()),
            ("User-Agent".to_owned(), "mine".to_owned()),
        ],
        ..request()
    };
    let (request_seen, run) = seen(http, None);
    assert_eq!(run.code(), "L7OK");
    let lines = ["options /health?full=1 http/1.1\r\n", "host: www.example\r\n", "x-one: 1\r\n"];
    for line in lines.into_iter().chain(["x-one: 2\r\n", "user-agent: mine\r\n"]) {
        assert!(request_seen.contains(line), "{request_seen}");
    }
    assert!(!request_seen.contains("guideway") && !request_seen.contains("x-padding"));
    for method in ["HEAD", "POST", "PUT", "DELETE", "PURGE"] {
        let (request_seen, run) =
            seen(CheckHttp { method: method.to_owned(), ..request() }, Some(1400));
        assert_eq!(run.said(), ("L7OK", ""), "{method}");
        assert!(request_seen.len() >= 1360, "{request_seen}");
    }
}

#[test]
fn requests_that_cannot_be_sent() {
    use guideway_controller::check::probe::Prepared;
    let with = |change: fn(&mut CheckHttp)| {
        let mut http = request();
        change(&mut http);
        let check = check(CheckKind::Http(http), LONG);
        Prepared::new(check.into()).err().map(|error| error.to_string())
    };
    assert_eq!(with(|_| {}), None);
    for (change, words) in [
        ((|http| "G T".clone_into(&mut http.method)) as fn(&mut CheckHttp), "method \"G T\""),
        (|http| "/a b".clone_into(&mut http.path), "path \"/a b\""),
        (|http| http.host = Some("a\nb".to_owned()), "host \"a\\nb\""),
        (|http| http.headers = vec![("a b".to_owned(), String::new())], "headers \"a b\""),
        (|http| http.headers = vec![("a".to_owned(), "\n".to_owned())], "headers \"\\n\""),
    ] {
        assert_eq!(with(change), Some(format!("{words} cannot be sent in an HTTP request")));
    }
}
