//! What is answered to which request.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use super::*;

#[test]
fn each_page_has_its_kind_and_may_not_be_kept() {
    let rig = Rig::new();
    for (target, status, kind, body) in [
        ("/healthz", 200, "application/json", r#"{"status":"ok"}"#),
        ("/readyz", 503, "application/json", r#"{"status":"not_ready"}"#),
        (
            "/metrics",
            200,
            "text/plain; version=0.0.4; charset=utf-8",
            "Query { scope: [], name: [] }\n",
        ),
        (
            "/metrics?name=a%62&scope=pools&name=c",
            200,
            "text/plain; version=0.0.4; charset=utf-8",
            "Query { scope: [\"pools\"], name: [\"ab\", \"c\"] }\n",
        ),
    ] {
        let reply = rig.get(target);
        assert_eq!((reply.status, &*reply.body), (status, body), "{target}");
        assert_eq!(reply.header("content-type"), Some(kind));
        assert_eq!(reply.header("content-length"), Some(&*body.len().to_string()));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    let index = rig.get("/");
    assert_eq!(index.status, 200);
    for page in ["/metrics", "/healthz", "/readyz"] {
        assert!(index.body.contains(page), "{page}");
    }
}

#[test]
fn what_is_no_page_is_refused() {
    let rig = Rig::new();
    for (target, status, word) in [
        ("/metric", 404, "no such page"),
        ("/metrics/", 404, "no such page"),
        ("/../etc/passwd", 404, "no such page"),
        ("//metrics", 404, "no such page"),
        ("/metrics?scop=a", 400, "\"scop\""),
        ("/metrics?name=%zz", 400, "percent encoding"),
        ("/healthz?verbose", 400, "only /metrics"),
    ] {
        let reply = rig.get(target);
        assert_eq!(reply.status, status, "{target}");
        assert!(reply.body.contains(word), "{target}: {}", reply.body);
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    let rig = Rig::with(Limits::default(), with_metrics(|_| Err("no scope \"a\"".into())));
    let reply = rig.get("/metrics?scope=a");
    assert_eq!((reply.status, &*reply.body), (400, "no scope \"a\"\n"));
}

#[test]
fn pages_can_only_be_read() {
    let rig = Rig::new();
    let host = "HTTP/1.1\r\nHost: localhost\r\n";
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
        let reply = Reply::of(&rig.say(format!("{method} /metrics {host}\r\n")));
        assert_eq!((reply.status, reply.header("allow")), (405, Some("get, head")), "{method}");
    }
    let star = Reply::of(&rig.say(format!("OPTIONS * {host}\r\n")));
    assert_eq!(star.status, 405);
    // A body is refused, sent or not, and ends the connection: the next request might be a part of it.
    for body in [
        "Content-Length: 5\r\n\r\nhello",
        "Content-Length: 1000000000000\r\n\r\n",
        "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        for method in ["GET", "POST"] {
            let text = rig.say(format!("{method} /healthz {host}{body}GET / {host}\r\n"));
            let reply = Reply::of(&text);
            assert_eq!(reply.status, 413, "{method} {body:?}");
            assert_eq!(reply.header("connection"), Some("close"));
            assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
        }
    }
    // Lengths that contradict each other or are none.
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 5, 5\r\n\r\n",
    ] {
        let reply = Reply::of(&rig.say(format!("GET /healthz {host}{lengths}")));
        assert!([400, 413].contains(&reply.status), "{lengths:?}: {reply:?}");
    }
    rig.is_fine();
}

#[test]
fn only_the_servers_own_names_are_served() {
    let rig = Rig::new();
    let ask = |host: &str| Reply::of(&rig.say(format!("GET /healthz HTTP/1.1\r\n{host}\r\n")));
    for host in [
        "localhost",
        "LOCALHOST:9420",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:9420",
        "[::1]",
        "[2001:db8::1]:80",
        "lb1.example",
        "Lb1.Example.:1",
        "node1",
        "NODE1:9420",
    ] {
        assert_eq!(ask(&format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    for host in ["evil.example", "xlocalhost", "localhost.evil.example", "2130706433", "[::1"] {
        let reply = ask(&format!("Host: {host}\r\n"));
        assert!([400, 403].contains(&reply.status), "{host}: {reply:?}");
    }
    let foreign = ask("Host: evil.example:9420\r\n");
    assert_eq!(foreign.status, 403);
    assert!(foreign.body.contains("metrics.hosts"), "{}", foreign.body);
    for hosts in ["", "Host: \r\n", "Host: a b\r\n", "Host: localhost\r\nHost: localhost\r\n"] {
        assert_eq!(ask(hosts).status, 400, "{hosts:?}");
    }
    assert_eq!(ask("Host: user@localhost\r\n").status, 403);
    // HTTP/1.0 has no Host, and no browser speaks it.
    let old = Reply::of(&rig.say("GET /healthz HTTP/1.0\r\n\r\n"));
    assert_eq!(old.status, 200);
    let old = Reply::of(&rig.say("GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n"));
    assert_eq!(old.status, 403);
}

#[test]
fn a_target_may_name_the_server_too() {
    let rig = Rig::new();
    let ask = |target: &str, host: &str| {
        Reply::of(&rig.say(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))).status
    };
    assert_eq!(ask("http://localhost/healthz", "localhost"), 200);
    assert_eq!(ask("http://evil.example/healthz", "localhost"), 403);
    assert_eq!(ask("http://localhost/healthz", "evil.example"), 403);
    assert_eq!(
        Reply::of(&rig.say("CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n")).status,
        403
    );
    assert_eq!(
        Reply::of(&rig.say("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n")).status,
        405
    );
}

#[test]
fn a_node_that_is_renamed_answers_to_its_new_name() {
    let rig = Rig::new();
    let ask = |host: &str| {
        Reply::of(&rig.say(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"))).status
    };
    rig.handle.serve(Pages { node: Arc::new(|| "node2".to_owned()), ..pages() });
    assert_eq!((ask("node1"), ask("node2")), (403, 200));
}

#[test]
fn head_has_the_headers_alone() {
    let rig = Rig::new();
    let mut stream = BufReader::new(rig.connect());
    for (target, status) in [("/metrics", 200), ("/readyz", 503), ("/nothing", 404)] {
        let full = rig.get(target);
        write!(stream.get_mut(), "HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        // The connection goes on, so a body would be the beginning of the next answer.
        let reply = Reply::of(&(head(&mut stream) + "\r\n"));
        assert_eq!(reply.status, status, "{target}");
        for header in ["content-type", "content-length"] {
            assert_eq!(reply.header(header), full.header(header), "{target}");
        }
    }
}

/// The header of the next answer.
fn head(stream: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head:?}");
    }
    head.truncate(head.len() - 2);
    head
}

#[test]
fn a_connection_carries_any_number_of_requests() {
    let rig = Rig::new();
    let mut stream = BufReader::new(rig.connect());
    let mut ask = |target: &str, pause: Duration| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        for part in request.as_bytes().chunks(20) {
            stream.get_mut().write_all(part).unwrap();
            std::thread::sleep(pause);
        }
        let reply = Reply::of(&(head(&mut stream) + "\r\n"));
        let length = reply.header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        reply.status
    };
    for _ in 0..20 {
        assert_eq!(ask("/healthz", Duration::ZERO), 200);
        assert_eq!(ask("/nothing", Duration::ZERO), 404);
        assert_eq!(ask("/metrics", Duration::ZERO), 200);
    }
    assert_eq!(ask("/healthz", Duration::from_millis(5)), 200);
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    let rig = Rig::new();
    let host = "HTTP/1.1\r\nHost: localhost\r\n";
    let many: String =
        (0..200).map(|n| format!("GET /metrics?name={n} {host}\r\n")).collect::<String>();
    let text = rig.say(many);
    let names: Vec<_> = text.lines().filter(|line| line.starts_with("Query")).collect();
    let expected: Vec<_> =
        (0..200).map(|n| format!("Query {{ scope: [], name: [\"{n}\"] }}")).collect();
    assert_eq!(names, expected);
}

#[test]
fn a_page_that_panics_is_an_error_and_the_server_goes_on() {
    let mut pages = with_metrics(|_| panic!("a test asked for it"));
    pages.readyz = Arc::new(|| panic!("a test asked for it"));
    let rig = Rig::with(Limits::default(), pages);
    for _ in 0..5 {
        for target in ["/metrics", "/readyz"] {
            assert_eq!(rig.get(target).status, 500, "{target}");
        }
    }
    rig.is_fine();
}

#[test]
fn there_are_no_metrics_while_the_daemon_starts_or_stops() {
    let rig = Rig::with(Limits::default(), Pages { metrics: None, ..pages() });
    let reply = rig.get("/metrics");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    rig.is_fine();
    rig.handle.serve(pages());
    assert_eq!(rig.get("/metrics").status, 200);
}
