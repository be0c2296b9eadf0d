//! Events over a connection: what is kept, what follows, and clients that read slowly, close or never read.

use guideway_api::{Events, Happening, KEPT_EVENTS};

use super::*;

fn link(n: usize) -> Happening {
    Happening::LinkUp { port: format!("p{n}") }
}

impl Site {
    fn record(&self, count: usize) {
        (0..count).for_each(|n| self.events.record(link(n)));
    }

    /// A client that follows, and has its first response.
    fn follower(&self, since: Option<u64>, kinds: &[&str]) -> (Client, Events) {
        let mut client = self.client();
        client.send(encode(&monitor(since, kinds, true)));
        let first = client.events();
        (client, first)
    }

    /// Waits until so many clients follow.
    fn until_bells(&self, count: usize) {
        let begun = Instant::now();
        while self.events.ring().bells() != count {
            assert!(begun.elapsed() < LONG, "{} clients follow", self.events.ring().bells());
            thread::yield_now();
        }
    }
}

impl Client {
    fn events(&mut self) -> Events {
        match self.reply() {
            Response::Events(events) => {
                assert_ne!(events.instance, 0);
                Events { instance: 0, ..events }
            }
            other => panic!("{other:?}"),
        }
    }

    /// All responses until the last.
    fn all_events(&mut self) -> Vec<Events> {
        let mut all = Vec::new();
        loop {
            all.push(self.events());
            if !all.last().unwrap().more {
                return all;
            }
        }
    }
}

fn monitor(since: Option<u64>, kinds: &[&str], follow: bool) -> Request {
    let kinds = kinds.iter().map(|&kind| kind.to_owned()).collect();
    Request::Monitor { since, instance: None, kinds, follow }
}

fn numbers(events: &Events) -> Vec<u64> {
    events.events.iter().map(|event| event.sequence).collect()
}

#[test]
fn what_is_kept_comes_in_batches() {
    let site = Site::new();
    let mut client = site.client();
    client.send(encode(&monitor(None, &[], false)));
    assert_eq!(client.events(), Events::default());
    site.record(1234);
    client.send(encode(&monitor(None, &[], false)));
    let all = client.all_events();
    assert_eq!(all.iter().map(|events| events.events.len()).collect::<Vec<_>>(), [500, 500, 234]);
    assert_eq!(all.iter().flat_map(numbers).collect::<Vec<_>>(), (1..=1234).collect::<Vec<_>>());
    client.send(encode(&monitor(Some(1233), &[], false)));
    assert_eq!(numbers(&client.events()), [1233, 1234]);
    for (since, first) in [(0, None), (1235, None), (1236, Some(1))] {
        client.send(encode(&monitor(Some(since), &[], false)));
        let all = client.all_events();
        assert_eq!(all.iter().flat_map(numbers).next(), first, "since {since}");
    }
    // The connection goes on.
    assert_eq!(client.ask(&Request::Stats {}), stats());
}

#[test]
fn what_is_no_longer_kept_is_counted() {
    let site = Site::new();
    site.record(KEPT_EVENTS + 7);
    let mut client = site.client();
    client.send(encode(&monitor(Some(3), &[], false)));
    let all = client.all_events();
    assert_eq!(all.iter().map(|events| events.lost).sum::<u64>(), 5);
    assert_eq!(all.iter().flat_map(numbers).count(), KEPT_EVENTS);
    client.send(encode(&monitor(None, &[], false)));
    let all = client.all_events();
    assert_eq!(all.iter().map(|events| events.lost).sum::<u64>(), 0, "it asked for what is kept");
}

#[test]
fn kinds_are_chosen_by_name() {
    let site = Site::new();
    site.record(600);
    site.events.record(Happening::PoolEmpty { pool: "web".into() });
    let mut client = site.client();
    client.send(encode(&monitor(None, &["pool_empty", "changed"], false)));
    let all = client.all_events();
    assert_eq!((all.len(), numbers(&all[0])), (1, vec![601]));
    let (mut follower, first) = site.follower(Some(601), &["pool_serving"]);
    assert_eq!(first, Events { more: true, ..Events::default() });
    site.record(3);
    site.events.record(Happening::PoolServing { pool: "web".into(), active: 1 });
    assert_eq!(numbers(&follower.events()), [605]);
}

#[test]
fn events_come_as_they_happen() {
    let site = Site::new();
    site.record(2);
    let (mut all, first) = site.follower(None, &[]);
    assert_eq!(numbers(&first), [1, 2]);
    let (mut new, first) = site.follower(Some(0), &[]);
    assert_eq!(numbers(&first), [0; 0]);
    for n in 3..50 {
        site.record(1);
        for client in [&mut all, &mut new] {
            let events = client.events();
            assert_eq!((numbers(&events), events.lost, events.more), (vec![n], 0, true));
        }
    }
    // As many as the ring keeps, at once: a client that reads gets each of them.
    thread::scope(|scope| {
        scope.spawn(|| site.record(KEPT_EVENTS));
        let mut next = 50;
        while next < 50 + KEPT_EVENTS as u64 {
            let events = all.events();
            next += events.lost;
            for number in numbers(&events) {
                assert_eq!(number, next);
                next += 1;
            }
        }
    });
}

#[test]
fn a_slow_reader_is_told_exactly_what_it_lost() {
    let site = Site::with(CONNECTIONS, SHORT, echo);
    let (mut slow, _) = site.follower(Some(0), &[]);
    let (mut other, _) = site.follower(Some(0), &[]);
    let total = 3 * KEPT_EVENTS as u64;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut seen = 0;
            while seen < total {
                let events = other.events();
                seen += events.lost + events.events.len() as u64;
            }
        });
        site.record(3 * KEPT_EVENTS);
    });
    // Longer than a client may take for any other response.
    thread::sleep(2 * SHORT);
    let (mut next, mut lost) = (1, 0);
    while next <= total {
        let events = slow.events();
        lost += events.lost;
        next += events.lost;
        for number in numbers(&events) {
            assert_eq!(number, next);
            next += 1;
        }
    }
    assert!((1..total).contains(&lost), "{lost}");
    site.record(1);
    let events = slow.events();
    assert_eq!((events.lost, numbers(&events)), (0, vec![total + 1]), "it goes on");
}

#[test]
fn a_client_that_closes_ends_its_thread() {
    let site = Site::new();
    // One waits for events, one reads none, one closes only its own side.
    let (idle, _) = site.follower(Some(0), &[]);
    let (stuck, _) = site.follower(Some(0), &[]);
    let (half, _) = site.follower(Some(0), &[]);
    site.until_bells(3);
    site.record(5000);
    half.0.get_ref().shutdown(Shutdown::Write).unwrap();
    site.until_bells(2);
    drop(stuck);
    site.until_bells(1);
    drop(idle);
    site.until_bells(0);
}

#[test]
fn the_stop_sends_what_was_recorded_before() {
    let mut site = Site::new();
    let (mut client, _) = site.follower(Some(0), &[]);
    let (stuck, _) = site.follower(Some(0), &[]);
    site.record(3000);
    site.events.record(Happening::DaemonStopping { reason: "SIGTERM".into() });
    let handle = site.handle.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = None;
            while let Ok(Response::Events(events)) = serde_json::from_str(&client.line()) {
                last = events.events.last().map(|event| event.happening.name()).or(last);
            }
            // Unless the stop came while the socket's buffer was full.
            assert!(last.is_some());
        });
        let begun = Instant::now();
        handle.stop();
        assert!(begun.elapsed() < LONG / 3);
    });
    drop(stuck);

    let mut site = Site::new();
    let (mut client, _) = site.follower(Some(0), &[]);
    site.events.record(Happening::DaemonStopping { reason: "SIGTERM".into() });
    site.handle.take().unwrap().stop();
    assert_eq!(client.events().events[0].happening.name(), "daemon_stopping");
    assert_eq!(client.line(), "");
}

#[test]
fn so_many_may_follow_and_others_still_ask() {
    let site = Site::new();
    let followers: Vec<_> = (0..FOLLOWERS).map(|_| site.follower(Some(0), &[]).0).collect();
    let mut late = site.client();
    late.send(encode(&monitor(None, &[], true)));
    let refusal = late.refusal();
    assert_eq!(refusal.kind, ErrorKind::Failed);
    assert_eq!(refusal.message, "32 clients follow the events already; try again later");
    late.send(encode(&monitor(None, &[], false)));
    assert_eq!(late.events(), Events::default());
    // Idle connections make room for others, those that follow do not.
    let idle: Vec<_> = (0..CONNECTIONS).map(|_| site.client()).collect();
    assert_eq!(site.client().ask(&Request::Stats {}), stats());
    site.record(1);
    drop(idle);
    for mut follower in followers {
        assert_eq!(numbers(&follower.events()), [1]);
    }
    site.until_bells(0);
    assert_eq!(site.follower(Some(0), &[]).1, Events { more: true, ..Events::default() });
}

#[test]
fn a_client_of_a_daemon_before_this_one_gets_all_that_is_kept() {
    let site = Site::new();
    site.record(600);
    let own = site.events.ring().instance();
    let mut client = site.client();
    for (since, instance, first) in [
        (Some(500), None, Some(500)),
        (Some(500), Some(own), Some(500)),
        (Some(500), Some(own - 1), Some(1)),
        (None, Some(own - 1), Some(1)),
        (Some(0), Some(own - 1), None),
    ] {
        client.send(encode(&Request::Monitor { since, instance, kinds: vec![], follow: false }));
        let Response::Events(events) = client.reply() else { panic!("no events") };
        assert_eq!((events.instance, events.lost), (own, 0));
        assert_eq!(numbers(&events).first().copied(), first, "{since:?} of {instance:?}");
        if events.more {
            client.all_events();
        }
    }
}

#[test]
fn a_hello_is_recorded_and_so_is_the_end_of_its_connection() {
    let site = Site::new();
    let (mut follower, _) = site.follower(Some(0), &[]);
    let hello = Request::Hello { client: "controller".into(), version: "1.2".into() };
    let mut client = site.client();
    assert_eq!(client.ask(&hello), Response::Hello {});
    let own = Peer::own("test");
    let connected = Happening::ClientConnected {
        client: "controller".into(),
        version: "1.2".into(),
        uid: own.uid,
        pid: own.pid,
        unrecorded: 0,
    };
    assert_eq!(follower.events().events[0].happening, connected);
    client.send(encode(&hello));
    assert_eq!(client.refusal().message, "this connection has said hello already");
    drop(client);
    let gone = Happening::ClientDisconnected { client: "controller".into(), pid: own.pid };
    assert_eq!(follower.events().events[0].happening, gone);
    drop(site.client());
    site.record(1);
    assert_eq!(follower.events().events[0].happening, link(0), "one that said nothing");
}

#[test]
fn of_many_clients_that_say_hello_some_are_recorded() {
    let site = Site::new();
    site.record(1);
    let hello = Request::Hello { client: "c".into(), version: String::new() };
    for _ in 0..500 {
        assert_eq!(site.client().ask(&hello), Response::Hello {});
    }
    let ring = site.events.ring();
    assert!(ring.next() < 200, "{} events", ring.next());
    assert_eq!(ring.read(1, 1).events[0].happening, link(0));
}

#[test]
fn a_handler_gets_the_client_and_its_access() {
    let directory = tempfile::tempdir().unwrap();
    for (name, access) in [("full", Access::Full), ("read", Access::Read)] {
        let path = directory.path().join(name);
        let (sender, peers) = mpsc::channel();
        let sender = Mutex::new(sender);
        let handler = move |peer: &Peer, _| {
            sender.lock().unwrap().send(peer.clone()).unwrap();
            stats()
        };
        let server = Server::bind(Daemon::Forwarder, &path, None, access).unwrap();
        let _handle = server.start(Arc::new(handler), Recorder::default());
        assert_eq!(mode(&path), 0o660);
        assert_eq!(Client::new(&path).ask(&Request::Stats {}), stats());
        let (peer, own) = (peers.recv_timeout(LONG).unwrap(), Peer::own("test"));
        assert_eq!((peer.uid, peer.pid, peer.access), (own.uid, own.pid, access));
    }
}
