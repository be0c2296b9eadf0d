//! What all connections share: admission, and the permits of long requests.

use super::*;

#[test]
fn one_connection_too_many_is_refused_if_all_are_busy() {
    let (handler, gate) = gated();
    let site = Site::with(2, CLIENT_TIMEOUT, handler);
    let mut running = site.client();
    running.send(check(1));
    gate.wait_begun();
    let mut half = site.client();
    half.send("{");
    let mut third = site.client();
    let refusal = third.refusal();
    assert_eq!(refusal.kind, ErrorKind::Failed);
    assert_eq!(refusal.message, "there are 2 connections already; try again later");
    assert_eq!(third.line(), "");

    gate.finish_one();
    assert_eq!(running.reply(), stats());
    half.send("}\n");
    assert_eq!(half.refusal().kind, ErrorKind::BadRequest);
    drop(half);
    ask_until_served(&site);
}

/// Sends requests on new connections until one is served: the thread of another connection may take a
/// moment to end or to become idle.
fn ask_until_served(site: &Site) -> Client {
    let begun = Instant::now();
    loop {
        let mut next = site.client();
        let _ = next.0.get_mut().write_all(encode(&Request::Stats {}).as_bytes());
        if next.reply() == stats() {
            return next;
        }
        assert!(begun.elapsed() < LONG, "no permit became free");
    }
}

#[test]
fn idle_connections_are_evicted() {
    let site = Site::new();
    let mut idle: Vec<_> = (0..CONNECTIONS).map(|_| site.client()).collect();
    let asking: Vec<_> = (0..CONNECTIONS / 2).map(|_| ask_until_served(&site)).collect();
    let mut closed = 0;
    for client in &mut idle {
        // The end of the stream, or the reply.
        let _ = client.0.get_mut().write_all(encode(&Request::Stats {}).as_bytes());
        closed += usize::from(client.line().is_empty());
    }
    assert!(closed >= asking.len(), "{closed}");
    assert!(closed < CONNECTIONS, "more were closed than had to");
}

#[test]
fn a_reply_that_waits_for_its_client_survives_eviction() {
    let site = Site::with(1, CLIENT_TIMEOUT, echo);
    let mut first = site.client();
    first.send(encode(&Request::Stats {}));
    ask_until_served(&site);
    assert_eq!(first.reply(), stats());
    assert_eq!(first.line(), "");
}

#[test]
fn few_long_requests_are_held_at_once() {
    let (handler, gate) = gated();
    let site = Site::with(CONNECTIONS, 6 * SHORT, handler);
    let mut running: Vec<_> = (0..MAX_LONG_REQUESTS).map(|_| site.client()).collect();
    for client in &mut running {
        client.send(check(SHORT_REQUEST));
        gate.wait_begun();
    }

    // The server reads no more of the line than it may hold; the kernel holds the rest.
    let mut refused = site.client();
    refused.0.get_ref().set_write_timeout(Some(SHORT / 3)).unwrap();
    let error = refused.0.get_mut().write_all(&vec![b'x'; REQUEST - 1]).unwrap_err();
    assert_eq!(error.kind(), Io::WouldBlock);
    // A short one needs no permit.
    assert_eq!(site.client().ask(&Request::Stats {}), stats());
    let refusal = refused.refusal();
    assert_eq!(refusal.kind, ErrorKind::Failed);
    let message = "there are 2 requests of more than 262144 bytes already; try again later";
    assert_eq!(refusal.message, message);

    for _ in &running {
        gate.finish_one();
    }
    for client in &mut running {
        assert_eq!(client.reply(), stats());
    }
}

#[test]
fn a_long_request_frees_its_permit_however_it_ends() {
    let (handler, gate) = gated();
    let site = Site::with(CONNECTIONS, SHORT, handler);
    for round in 0..4 {
        let mut clients: Vec<_> = (0..MAX_LONG_REQUESTS).map(|_| site.client()).collect();
        for client in &mut clients {
            match round {
                // Too slow, too long, without its end, and served.
                0 => client.send(vec![b'x'; SHORT_REQUEST + CHUNKS]),
                1 => client.send(vec![b'x'; REQUEST]),
                2 => {
                    client.send(vec![b'x'; SHORT_REQUEST + CHUNKS]);
                    client.0.get_mut().shutdown(Shutdown::Write).unwrap();
                }
                _ => client.send(check(SHORT_REQUEST)),
            }
        }
        for client in &mut clients {
            match round {
                0 => assert_eq!(client.line(), ""),
                1 => assert_eq!(client.refusal().message, "a request has at most 1048576 bytes"),
                2 => assert_eq!(client.refusal().message, "the request ends without a newline"),
                _ => {
                    gate.wait_begun();
                    gate.finish_one();
                    assert_eq!(client.reply(), stats());
                }
            }
        }
    }
}

#[test]
fn a_long_request_waits_for_its_permit() {
    let (handler, gate) = gated();
    let site = Site::with(CONNECTIONS, LONG, handler);
    let mut clients: Vec<_> = (0..5).map(|_| site.client()).collect();
    for client in &mut clients {
        client.send(check(SHORT_REQUEST));
    }
    for _ in 0..MAX_LONG_REQUESTS {
        gate.wait_begun();
    }
    for _ in MAX_LONG_REQUESTS..5 {
        assert!(
            gate.begun.recv_timeout(SHORT).is_err(),
            "more than {MAX_LONG_REQUESTS} are carried out"
        );
        gate.finish_one();
        gate.wait_begun();
    }
    gate.finish_one();
    gate.finish_one();
    for client in &mut clients {
        assert_eq!(client.reply(), stats());
    }
}
