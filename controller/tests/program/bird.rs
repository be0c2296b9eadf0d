//! The whole of it but the forwarder: the controller, its BIRD, and a router in a namespace of its own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use guideway_api::{BgpPeer, BgpState, Request, Response, VipOrder};
use nix::sys::signal::Signal;

use crate::forwarder::{ANNOUNCE, Forwarder};
use crate::rig::{Controller, Node0, get, vip_set};
use crate::space::{INTERFACE, in_namespace, ip, make_interface, metrics, routes, until};

const BIRD: &str = "/usr/sbin/bird";
const WEB: &str = "203.0.113.10";
const DNS: &str = "2001:db8:f::53";

const ROUTER: &str = "
log stderr all;
router id 10.9.1.1;
protocol device {}
protocol bgp n1 {
    local 10.9.1.1 as 65000;
    neighbor 10.9.1.2 as 65001;
    connect delay time 1;
    ipv4 { import all; export none; };
}
";

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn bird(directory: &Path) -> Running {
        let (file, socket) = (directory.join("bird.conf"), directory.join("bird.ctl"));
        Running::start(Command::new(BIRD).arg("-f").arg("-c").arg(file).arg("-s").arg(socket))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn managed(directory: &Path) -> String {
    format!(
        "{ANNOUNCE}bgp = \"managed\"\n[bgp]\nlocal_as = 65001\nallowed = [\"203.0.113.0/24\", \
         \"2001:db8:f::/48\"]\ndirectory = {directory:?}\n[[bgp.peer]]\nname = \"tor1\"\naddress = \"10.9.1.1\"\n\
         as = 65000\nbfd = false\nttl_security = false\n[[bgp.peer]]\nname = \"tor2\"\naddress = \"10.9.1.9\"\n\
         as = 65000\nbfd = false\n"
    )
}

/// Where the router is, with its BIRD.
struct Router {
    directory: tempfile::TempDir,
    _space: Running,
    _bird: Running,
}

impl Router {
    fn start() -> Router {
        let space = Running::start(Command::new("unshare").args(["-n", "sleep", "infinity"]));
        let pid = space.0.id();
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        until("the router's namespace", || {
            let is_other =
                fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|other| other != own);
            is_other && fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "sleep\n"
        });
        ip(&format!("link add n0 type veth peer name r0 netns {pid}"));
        ip("addr add 10.9.1.2/24 dev n0");
        ip("link set n0 up");
        let at = |program: &str| {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/proc/{pid}/ns/net")).arg(program);
            command
        };
        for line in ["link set lo up", "addr add 10.9.1.1/24 dev r0", "link set r0 up"] {
            assert!(at("ip").args(line.split(' ')).status().unwrap().success());
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("bird.conf"), ROUTER).unwrap();
        let (file, socket) =
            (directory.path().join("bird.conf"), directory.path().join("bird.ctl"));
        let bird = Running::start(at(BIRD).arg("-f").arg("-c").arg(file).arg("-s").arg(socket));
        Router { directory, _space: space, _bird: bird }
    }

    /// What the router's BIRD has of an address.
    fn has(&self, address: &str) -> String {
        let socket = self.directory.path().join("bird.ctl");
        let prefix = format!("{address}/32");
        let command = ["-r", "show", "route", &prefix, "all"];
        let done = Command::new("birdc").arg("-s").arg(socket).args(command).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    }
}

fn peers(controller: &Controller<'_>) -> Vec<BgpPeer> {
    match controller.ask(&Request::BgpList {}) {
        Ok(Response::BgpPeers(peers)) => peers,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_managed_bird_tells_a_router_what_is_announced() {
    in_namespace(|| {
        let router = Router::start();
        let node = Node0::new();
        let directory = node.path("bird");
        fs::create_dir(&directory).unwrap();
        make_interface(INTERFACE);
        let _forwarder = Forwarder::start(&node.path("forwarder.sock"), &managed(&directory));
        let controller = node.start();
        let file = directory.join("bird.conf");
        until("BIRD's configuration is written before BIRD runs", || file.exists());
        let bird = Running::bird(&directory);
        until("the router learns the address", || router.has(WEB).contains("via 10.9.1.2"));
        assert!(router.has(WEB).contains("BGP.as_path: 65001\n"), "{}", router.has(WEB));

        // Both peers are listed, each with what is kept from it.
        until("what is known of the sessions", || {
            let peers = peers(&controller);
            peers[0].routes == 1 && peers[1].error.is_some()
        });
        let [tor1, tor2] = &peers(&controller)[..] else { panic!("two peers") };
        assert_eq!((tor1.state, tor1.notes.len()), (BgpState::Established, 1), "{tor1:?}");
        assert_eq!(tor1.notes[0], format!("{DNS}: of a family that no bgp.peer.families has"));
        assert!(tor2.state != BgpState::Established, "{tor2:?}");
        let shown = controller.ask(&Request::BgpShow { peer: "tor1".to_owned() }).unwrap();
        let Response::BgpPeer(details) = shown else { panic!("{shown:?}") };
        assert_eq!(details.sent[0].address, WEB.parse::<std::net::IpAddr>().unwrap());
        assert!(controller.ask(&Request::BgpShow { peer: "tor9".to_owned() }).is_err());
        let (_, page) = get(&node, "/metrics?scope=peers");
        assert!(page.contains("guideway_bgp_session_up{peer=\"tor1\"} 1\n"), "{page}");
        assert!(page.contains("guideway_bgp_session_up{peer=\"tor2\"} 0\n"), "{page}");
        assert_eq!(get(&node, "/healthz").0, 503, "one session is down");
        assert_eq!(get(&node, "/readyz").0, 200);

        // An order for one peer gives the route a class, and BIRD never loses the route meanwhile.
        let mut request = vip_set(VipOrder::Drain, &[WEB]);
        if let Request::VipSet { peers, .. } = &mut request {
            peers.push("tor1".to_owned());
        }
        controller.ask(&request).unwrap();
        until("the class is in the kernel", || {
            routes(1000).get(&WEB.parse().unwrap()) == Some(&1001)
        });
        until("the router has it as a last resort", || router.has(WEB).contains("(65535,0)"));

        // A restart of the controller changes nothing, not even the class.
        controller.end(Signal::SIGKILL);
        // The drain goes on for a second, so that time must not end it here.
        let controller = node.start();
        until("its time is over", || !router.has(WEB).contains("via"));
        let mut undrain = vip_set(VipOrder::Undrain, &[WEB]);
        if let Request::VipSet { peers, .. } = &mut undrain {
            peers.push("tor1".to_owned());
        }
        controller.ask(&undrain).unwrap();
        until("it is announced again", || router.has(WEB).contains("via 10.9.1.2"));
        until("the class is gone", || routes(1000) == metrics(&[(WEB, 1000), (DNS, 1000)]));

        // BIRD is killed, and comes back.
        drop(bird);
        until("it is said", || controller.count("bird_lost") == 1);
        until("it is shown", || get(&node, "/metrics").1.contains("guideway_bird_up 0\n"));
        assert_eq!(routes(1000), metrics(&[(WEB, 1000), (DNS, 1000)]), "the routes stay");
        let _bird = Running::bird(&directory);
        until("it is announced again", || router.has(WEB).contains("via 10.9.1.2"));
        until("it is found", || controller.count("bird_found") >= 1);

        // SIGHUP reads passwords again, and resets no session.
        let since = || peers(&controller)[0].since.clone();
        until("the session is known", || peers(&controller)[0].state == BgpState::Established);
        let before = since();
        controller.signal(Signal::SIGHUP);
        thread::sleep(Duration::from_secs(2));
        assert_eq!(since(), before);
        let (status, _) = controller.end(Signal::SIGTERM);
        assert_eq!(status.code(), Some(0));
        assert!(router.has(WEB).contains("via 10.9.1.2"), "what is announced stays");
    });
}
