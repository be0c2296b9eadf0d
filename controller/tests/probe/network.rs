//! Whose fault it is, and what length gets through: network namespaces with a node and a host behind a cable.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use guideway_config::CheckKind;
use guideway_controller::check::To;
use guideway_controller::check::probe::Way;
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use rustls::{ServerConnection, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};

use crate::checks::{AWHILE, LONG, Run, check, exchange, https, request, run_by, tcp};
use crate::tls::Identity;

/// Runs on a thread that has a network namespace of its own.
fn in_namespace(run: impl FnOnce() + Send) {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
            ip("link set lo up");
            run();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs `ip` in the namespace of the calling thread.
fn ip(arguments: &str) {
    command(&format!("ip {arguments}"));
}

fn command(line: &str) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn set(setting: &str, value: &str) {
    fs::write(PathBuf::from("/proc/sys/net").join(setting), value).unwrap();
}

/// A node, which is the calling thread, and a host: `near` and `far` are the ends of the cable between them. The node
/// is 10.0.0.1 and fd00::1, the host 10.0.0.2 and fd00::2; `far_end` runs there first.
fn with_host(far_end: impl FnOnce() + Send, near_end: impl FnOnce() + Send) {
    in_namespace(|| {
        thread::scope(|scope| {
            let (place, placed): (Sender<PathBuf>, Receiver<PathBuf>) = channel();
            let (plug, plugged) = channel::<()>();
            let (ready, is_ready) = channel();
            let (end, ended) = channel::<()>();
            scope.spawn(move || {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                let thread = fs::read_link("/proc/thread-self").unwrap();
                place.send(PathBuf::from("/proc").join(thread).join("ns/net")).unwrap();
                plugged.recv().unwrap();
                ip("link set lo up");
                address("far", "10.0.0.2/24", "fd00::2/64");
                far_end();
                ready.send(()).unwrap();
                let _ = ended.recv();
            });
            let far = placed.recv().unwrap();
            ip("link add near type veth peer name far");
            ip(&format!("link set far netns {}", far.display()));
            address("near", "10.0.0.1/24", "fd00::1/64");
            plug.send(()).unwrap();
            is_ready.recv().unwrap();
            near_end();
            drop(end);
        });
    });
}

fn address(interface: &str, v4: &str, v6: &str) {
    ip(&format!("link set {interface} up"));
    ip(&format!("addr add {v4} dev {interface}"));
    ip(&format!("addr add {v6} dev {interface} nodad"));
}

fn every_kind() -> [CheckKind; 4] {
    let udp = |expect| CheckKind::Udp(exchange(Some("x"), expect));
    [tcp(None, None), udp(None), udp(Some("x")), CheckKind::Ping]
}

fn probe_from(kind: CheckKind, to: &str, source: Option<&str>) -> Run {
    let to: IpAddr = to.parse().unwrap();
    let source = source.map(|ip| SocketAddr::new(ip.parse().unwrap(), 20_000));
    let to = match kind {
        CheckKind::Ping => To::Host(to),
        _ => To::Port(SocketAddr::new(to, 80)),
    };
    run_by(check(kind, LONG), Way { to, source })
}

#[test]
fn a_node_without_a_way_says_nothing_about_the_backend() {
    in_namespace(|| {
        ip("addr add 10.9.9.9/32 dev lo");
        ip("addr add fd09::9/128 dev lo nodad");
        ip("route add default dev lo");
        ip("-6 route add default dev lo");
        // As the table of probes is when its interface is gone.
        for (family, source) in [("-4", "10.9.9.9"), ("-6", "fd09::9")] {
            ip(&format!("{family} rule add from {source} lookup 1001"));
            ip(&format!(
                "{family} route add unreachable default metric 4294967295 proto 200 table 1001"
            ));
        }
        for kind in every_kind() {
            for (to, source) in [("192.0.2.1", "10.9.9.9"), ("2001:db8::1", "fd09::9")] {
                let run = probe_from(kind.clone(), to, Some(source));
                let (code, detail) = run.said();
                assert!(code == "SOCKERR" && detail.contains("host is unreachable"), "{run:?}");
            }
        }
        ip("route del default dev lo");
        ip("-6 route del default dev lo");
        ip("-6 route add prohibit 2001:db8:1::/48");
        ip("route add blackhole 198.51.100.0/24");
        for kind in every_kind() {
            for to in ["192.0.2.1", "2001:db8::1", "2001:db8:1::1", "198.51.100.1"] {
                let run = probe_from(kind.clone(), to, None);
                assert_eq!(run.code(), "SOCKERR", "{run:?}");
            }
        }
    });
}

#[test]
fn a_router_that_says_unreachable_speaks_of_the_backend() {
    let router = || {
        set("ipv4/ip_forward", "1");
        set("ipv6/conf/all/forwarding", "1");
        set("ipv4/icmp_ratelimit", "0");
        set("ipv6/icmp/ratelimit", "0");
        ip("route add unreachable 198.51.100.0/24");
        ip("-6 route add unreachable 2001:db8::/32");
    };
    with_host(router, || {
        ip("route add 198.51.100.0/24 via 10.0.0.2");
        ip("-6 route add 2001:db8::/32 via fd00::2");
        for kind in every_kind() {
            for to in ["198.51.100.1", "2001:db8::1"] {
                let run = probe_from(kind.clone(), to, None);
                let (code, detail) = run.said();
                assert!(code == "L4CON" && detail.contains("is unreachable"), "{run:?}");
            }
        }
    });
}

/// A backend in the node's own network that answers no ARP.
#[test]
fn a_neighbour_that_is_gone_is_unreachable() {
    with_host(
        || {},
        || {
            set("ipv4/neigh/near/retrans_time_ms", "20");
            set("ipv6/neigh/near/retrans_time_ms", "20");
            for kind in [tcp(None, None), CheckKind::Ping] {
                for to in ["10.0.0.99", "fd00::99"] {
                    let run = probe_from(kind.clone(), to, None);
                    assert_eq!(run.said(), ("L4CON", "the host is unreachable"), "{run:?}");
                }
            }
        },
    );
}

/// The kernel lets this process have a socket for echoes, or a raw one alone. On the wire there is no difference.
#[test]
fn the_identifier_is_the_source_port() {
    for (range, words) in [("1 0", "a raw socket"), ("0 2147483647", "a socket for echoes")] {
        in_namespace(|| {
            set("ipv4/ping_group_range", range);
            let wire = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
            wire.set_read_timeout(Some(LONG)).unwrap();
            for to in ["127.0.0.1", "::1"] {
                let source = if to == "::1" { "::1" } else { "127.0.0.2" };
                for source in [Some(source), None] {
                    let run = probe_from(CheckKind::Ping, to, source);
                    assert_eq!(run.said(), ("L4OK", ""));
                    assert!(run.steps[0].detail.ends_with(words), "{run:?}");
                }
            }
            let mut packet = [0; 200];
            let bytes = (&wire).read(&mut packet).unwrap();
            // IP's header and ICMP's, in a packet that must not be cut.
            assert_eq!((bytes, packet[0], packet[6] & 0x40), (84, 0x45, 0x40));
            assert_eq!(packet[12..16], [127, 0, 0, 2]);
            assert_eq!(packet[20], 8);
            assert_eq!(packet[24..26], 20_000u16.to_be_bytes());
        });
    }
}

#[test]
fn an_echo_request_needs_a_permission() {
    in_namespace(|| {
        set("ipv4/ping_group_range", "1 0");
        let mut mine = capabilities(None).unwrap();
        mine.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, mine).unwrap();
        for to in ["127.0.0.1", "::1"] {
            let run = probe_from(CheckKind::Ping, to, None);
            let (code, detail) = run.said();
            assert!(code == "SOCKERR" && detail.contains("takes CAP_NET_RAW"), "{run:?}");
        }
    });
}

/// Answers requests for ever: over TLS on port 443.
fn serve(listener: TcpListener) {
    let tls = listener.local_addr().unwrap().port() == 443;
    thread::spawn(move || {
        let identity = Identity::new(&["www.example"], 2090).server();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let identity = identity.clone();
            thread::spawn(move || {
                if tls {
                    let session = ServerConnection::new(identity).unwrap();
                    respond(&mut StreamOwned::new(session, stream));
                } else {
                    respond(&mut stream);
                }
            });
        }
    });
}

fn respond(stream: &mut (impl Read + Write)) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let _ = stream.flush();
}

#[test]
fn packets_have_exactly_the_size_without_timestamps() {
    packets_have_exactly_the_size("0");
}

/// They take 12 bytes of each segment.
#[test]
fn packets_have_exactly_the_size_with_timestamps() {
    packets_have_exactly_the_size("1");
}

/// The host's end of the cable takes packets of 1,400 bytes and silently drops longer ones, with headers for a VLAN
/// that nobody uses; and the host's TCP does not know. So the fabric has a hole.
fn packets_have_exactly_the_size(timestamps: &str) {
    let host = || {
        set("ipv4/tcp_timestamps", timestamps);
        ip("link set far mtu 1396");
        ip("route replace 10.0.0.0/24 dev far src 10.0.0.2 advmss 1460");
        ip("-6 route replace fd00::/64 dev far proto kernel metric 256 advmss 1440");
        for at in ["10.0.0.2:80", "[fd00::2]:80", "10.0.0.2:443", "[fd00::2]:443"] {
            serve(TcpListener::bind(at).unwrap());
        }
    };
    with_host(host, || {
        command("ethtool -K near tso off gso off");
        // Behind a queue a loss is not the sender's to know.
        command("tc qdisc replace dev near root pfifo");
        let sized = |kind: &CheckKind, to: &str, size: u16, timeout| {
            let to: IpAddr = to.parse().unwrap();
            let to = match kind {
                CheckKind::Ping => To::Host(to),
                CheckKind::Http(http) if http.tls.is_some() => To::Port(SocketAddr::new(to, 443)),
                _ => To::Port(SocketAddr::new(to, 80)),
            };
            let mut check = check(kind.clone(), timeout);
            check.size = Some(size);
            run_by(check, Way { to, source: None })
        };
        for (kind, ok, lost) in [
            (CheckKind::Http(request()), "L7OK", "L7TOUT"),
            (CheckKind::Http(https()), "L7OK", "L7TOUT"),
            (CheckKind::Ping, "L4OK", "L4TOUT"),
        ] {
            for to in ["10.0.0.2", "fd00::2"] {
                assert_eq!(sized(&kind, to, 1400, LONG).said(), (ok, ""), "{to}");
                let run = sized(&kind, to, 1401, AWHILE);
                assert_eq!(run.code(), lost, "{to} {run:?}");
            }
        }
        // What the node itself does not send.
        for to in ["10.0.0.2", "fd00::2"] {
            let run = sized(&CheckKind::Ping, to, 1501, AWHILE);
            let (code, detail) = run.said();
            assert!(code == "SOCKERR" && detail.contains("too long"), "{run:?}");
        }
        // TCP keeps to what the cable takes, and says so.
        let run = sized(&CheckKind::Http(request()), "10.0.0.2", 9000, AWHILE);
        assert!(run.steps[0].detail.contains("longer ones do not occur"), "{run:?}");
    });
}
