//! ICMP errors about tunnels, by a real router.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use guideway_controller::check::icmp::{Listener, TunnelError, listen};
use parking_lot::Mutex;

use crate::outer::{GRE, Outer, TCP, UDP};
use crate::router::Router;
use crate::space::{in_namespace, ip, until};

/// What the listener has reported: destination and words.
struct Heard {
    listener: Listener,
    errors: Arc<Mutex<Vec<TunnelError>>>,
}

impl Heard {
    fn new(sources: &[&str]) -> Heard {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&errors);
        let listener = listen(move |error| into.lock().push(error)).unwrap();
        assert!(listener.is_listening());
        let sources: Vec<_> = sources.iter().map(|source| source.parse().unwrap()).collect();
        listener.set_sources(&sources);
        Heard { listener, errors }
    }

    /// The next report, as text.
    fn next(&self, what: &str) -> String {
        until(what, || !self.errors.lock().is_empty());
        let error = self.errors.lock().remove(0);
        format!("{}: {error}", error.destination)
    }
}

const SOURCES: [&str; 2] = ["192.0.2.1/32", "2001:db8::1/128"];

#[test]
fn a_router_says_what_is_wrong_with_a_tunnel() {
    in_namespace(|| {
        let router = Router::new();
        router.run("ip link add far0 mtu 1400 type veth peer name far1");
        router.run("ip link set far0 up");
        router.run("ip link set far1 up");
        for (to, family) in [("198.51.100", "-4"), ("2001:db8:7:", "-6")] {
            let dot = if family == "-4" { "." } else { ":" };
            router.run(&format!("ip {family} route add unreachable {to}{dot}1"));
            router.run(&format!("ip {family} route add prohibit {to}{dot}2"));
            router.run(&format!("ip {family} route add {to}{dot}3 dev far0"));
        }
        // A host that does not answer neighbour discovery.
        router.run("ip -6 route add 2001:db8:7::5 dev far0");
        router.run("sysctl -qw net.ipv6.neigh.far0.retrans_time_ms=50");
        let heard = Heard::new(&SOURCES);
        let (four, six) = (Outer::new(false), Outer::new(true));
        for (to, carried, hops, length, words) in [
            ("198.51.100.1", GRE, 64, 100, "host unreachable"),
            ("198.51.100.1", UDP, 64, 100, "host unreachable"),
            ("198.51.100.2", GRE, 64, 100, "administratively prohibited"),
            ("198.51.100.3", GRE, 64, 1500, "packet too big, MTU 1400"),
            ("198.51.100.4", GRE, 64, 100, "no route"),
            ("198.51.100.3", GRE, 1, 100, "hop limit exceeded"),
            ("192.0.2.254", GRE, 64, 100, "protocol unreachable"),
            ("192.0.2.254", UDP, 64, 100, "port unreachable"),
        ] {
            four.send(to, carried, hops, length);
            assert_eq!(heard.next(words), format!("{to}: {words}, says 192.0.2.254"));
        }
        for (to, carried, hops, length, words) in [
            // The kernel says so of an unreachable route, too.
            ("2001:db8:7::1", GRE, 64, 100, "no route"),
            ("2001:db8:7::5", GRE, 64, 100, "host unreachable"),
            ("2001:db8:7::2", GRE, 64, 100, "administratively prohibited"),
            ("2001:db8:7::3", UDP, 64, 1500, "packet too big, MTU 1400"),
            ("2001:db8:7::4", GRE, 64, 100, "no route"),
            ("2001:db8:7::3", GRE, 1, 100, "hop limit exceeded"),
            ("2001:db8::254", GRE, 64, 100, "protocol unreachable"),
            ("2001:db8::254", UDP, 64, 100, "port unreachable"),
        ] {
            six.send(to, carried, hops, length);
            assert_eq!(heard.next(words), format!("{to}: {words}, says 2001:db8::254"));
        }
    });
}

#[test]
fn what_is_no_tunnels_is_not_reported() {
    in_namespace(|| {
        let router = Router::new();
        router.run("ip route add unreachable 198.51.100.1");
        let heard = Heard::new(&["192.0.2.9/32"]);
        let four = Outer::new(false);
        four.send("198.51.100.1", GRE, 64, 100);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(*heard.errors.lock(), [], "another source");
        heard.listener.set_sources(&["192.0.2.0/24".parse().unwrap()]);
        four.send("198.51.100.1", TCP, 64, 100);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(*heard.errors.lock(), [], "a connection of the node itself");
        four.send("198.51.100.1", GRE, 64, 100);
        assert_eq!(heard.next("of a prefix"), "198.51.100.1: host unreachable, says 192.0.2.254");
    });
}

#[test]
fn a_flood_is_not_looked_at() {
    in_namespace(|| {
        let router = Router::new();
        let heard = Heard::new(&SOURCES);
        let four = Outer::new(false);
        let begin = Instant::now();
        let mut sent = 0;
        while begin.elapsed() < Duration::from_millis(2500) {
            // The router itself knows no such protocol. Errors about routes have a limit of their own.
            four.send("192.0.2.254", GRE, 64, 100);
            sent += 1;
        }
        let seconds = usize::try_from(begin.elapsed().as_secs()).unwrap() + 2;
        let count = heard.errors.lock().len();
        println!("of {sent} errors in 2.5 s, {count} were looked at");
        assert!(sent > 5000, "no flood: {sent}");
        assert!((500..=seconds * 1000).contains(&count), "{count}");
        // And afterwards it hears as ever. What the buffer still holds comes first.
        router.run("ip route add prohibit 198.51.100.2");
        thread::sleep(Duration::from_millis(1500));
        heard.errors.lock().clear();
        four.send("198.51.100.2", GRE, 64, 100);
        let words = "198.51.100.2: administratively prohibited, says 192.0.2.254";
        assert_eq!(heard.next("after the flood"), words);
    });
}

#[test]
fn a_listener_ends_at_once() {
    in_namespace(|| {
        ip("link set lo up");
        let heard = Heard::new(&SOURCES);
        let begin = Instant::now();
        drop(heard.listener);
        assert!(begin.elapsed() < Duration::from_millis(500));
    });
}

#[test]
fn without_permission_there_is_no_listener_and_no_failure() {
    in_namespace(|| {
        // Of this thread alone.
        rustix::thread::set_capabilities(None, without_raw()).unwrap();
        let listener = listen(|_| ()).unwrap();
        assert!(!listener.is_listening());
        listener.set_sources(&["192.0.2.1/32".parse().unwrap()]);
    });
}

fn without_raw() -> rustix::thread::CapabilitySets {
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective.remove(rustix::thread::CapabilitySet::NET_RAW);
    sets
}
