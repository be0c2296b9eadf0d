//! Starts, ends, and what the forwarder's life does to addresses.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use guideway_api::{AnnouncingState, ForwarderState, VipCause, VipState};
use nix::sys::signal::Signal;

use crate::forwarder::{ANNOUNCE, Forwarder};
use crate::rig::{Node0, get};
use crate::space::{
    INTERFACE, Metrics, in_namespace, ip, make_interface, metrics, routes, run, until,
};

const WEB: &str = "203.0.113.10";
const DNS: &str = "2001:db8:f::53";

fn both(metric: u32) -> Metrics {
    metrics(&[(WEB, metric), (DNS, metric)])
}

#[test]
fn addresses_are_announced_as_long_as_the_forwarder_is_well() {
    in_namespace(|| {
        let node = Node0::new();
        // It is ready without a forwarder.
        let controller = node.start();
        assert_eq!(controller.show().forwarder, ForwarderState::Absent);
        make_interface(INTERFACE);
        let forwarder = Forwarder::start(&node.path("forwarder.sock"), ANNOUNCE);
        controller.until_routes(&both(1000));
        until("it is listed", || controller.vips().iter().all(|vip| vip.installed));
        let vip = controller.vip(WEB).unwrap();
        assert_eq!((vip.state, vip.cause), (VipState::Announced, VipCause::Serving));
        assert_eq!(
            (vip.services.as_slice(), vip.metric),
            (&["web".into(), "web-tls".into()][..], Some(1000))
        );
        let shown = controller.show();
        assert_eq!((shown.node.as_str(), shown.generation, shown.announced), ("lb1", 1, 2));
        node.notification("Forwarder well; generation 1; 2 announced, 0 draining, 0 withdrawn");
        let (status, page) = get(&node, "/readyz");
        assert_eq!(status, 200, "{page}");
        let (_, page) = get(&node, "/metrics");
        assert!(page.contains("guideway_controller_forwarder_up 1\n"), "{page}");
        assert!(page.contains("guideway_vip_announced{address=\"2001:db8:f::53\"} 1\n"), "{page}");
        assert_eq!(get(&node, "/metrics?scope=backends").0, 400);

        // Silent, as one that SIGSTOP has stopped.
        forwarder.say(|said| said.is_silent = true);
        let took = controller.until_routes(&Metrics::new());
        assert!(took < Duration::from_millis(1000), "{took:?}");
        until("it is said", || controller.vip(WEB).unwrap().cause == VipCause::ForwarderSilent);
        assert_eq!(get(&node, "/readyz").0, 503);
        forwarder.say(|said| said.is_silent = false);
        controller.until_routes(&both(1000));

        // It takes its interface down by itself.
        forwarder.say(|said| said.announcing = AnnouncingState::NoLink);
        controller.until_routes(&Metrics::new());
        until("it is said", || controller.vip(WEB).unwrap().cause == VipCause::InterfaceDown);
        forwarder.say(|said| said.announcing = AnnouncingState::Up);
        controller.until_routes(&both(1000));

        // It ends, and starts anew.
        drop(forwarder);
        controller.until_routes(&Metrics::new());
        until("it is said", || controller.vip(WEB).unwrap().cause == VipCause::NoForwarder);
        let _forwarder = Forwarder::start(&node.path("forwarder.sock"), ANNOUNCE);
        controller.until_routes(&both(1000));
        assert!(controller.count("forwarder_state") >= 6);
        let (status, _) = controller.end(Signal::SIGTERM);
        assert_eq!(status.code(), Some(0));
    });
}

#[test]
fn nothing_changes_when_the_controller_ends_or_starts() {
    in_namespace(|| {
        let node = Node0::new();
        make_interface(INTERFACE);
        let _forwarder = Forwarder::start(&node.path("forwarder.sock"), ANNOUNCE);
        for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
            let controller = node.start();
            controller.until_routes(&both(1000));
            until("it is listed", || controller.vips().iter().all(|vip| vip.installed));
            if controller.count("vip_state") > 0 {
                // Only the first one has announced anything.
                assert_eq!(signal, Signal::SIGKILL);
            }
            let monitor = Monitor::start();
            let (status, _) = controller.end(signal);
            assert_eq!(status.code(), (signal != Signal::SIGKILL).then_some(0));
            if signal != Signal::SIGKILL {
                node.notification("STOPPING=1");
                assert!(!node.path("controller.sock").exists() && !node.path("http.sock").exists());
            }
            let controller = node.start();
            until("all is known", || {
                let vips = controller.vips();
                vips.len() == 2 && vips.iter().all(|vip| vip.state == VipState::Announced)
            });
            thread::sleep(Duration::from_millis(500));
            assert_eq!(monitor.lines(), Vec::<String>::new());
            assert_eq!(routes(1000), both(1000));
            controller.end(Signal::SIGTERM);
        }
    });
}

/// What the kernel says of routes.
struct Monitor {
    child: std::process::Child,
    output: tempfile::NamedTempFile,
}

impl Monitor {
    fn start() -> Monitor {
        let output = tempfile::NamedTempFile::new().unwrap();
        let child = std::process::Command::new("ip")
            .args(["monitor", "route"])
            .stdout(output.reopen().unwrap())
            .spawn()
            .unwrap();
        let monitor = Monitor { child, output };
        // It listens once it tells a route of another table.
        until("ip monitor listens", || {
            ip("route replace 198.51.100.1 dev lo table 77");
            ip("route del 198.51.100.1 dev lo table 77");
            !monitor.read().is_empty()
        });
        monitor
    }

    fn read(&self) -> String {
        std::fs::read_to_string(self.output.path()).unwrap()
    }

    /// What was said of virtual addresses.
    fn lines(mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let is_ours = |line: &&str| line.contains(WEB) || line.contains(DNS);
        self.read().lines().filter(is_ours).map(str::to_owned).collect()
    }
}

/// The sockets of a process to which it has connected, by `ss`: the path of each.
fn connected(pid: nix::unistd::Pid) -> BTreeSet<String> {
    let inode = |fd: std::io::Result<std::fs::DirEntry>| {
        let target = std::fs::read_link(fd.ok()?.path()).ok()?;
        let target = target.to_string_lossy().into_owned();
        Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    let own: BTreeSet<String> =
        std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(inode).collect();
    let table = run("ss -x -a -H -n");
    let sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Netid, state, two queues, the path and the inode, the peer's path and inode.
    let of_peer = sockets.filter(|fields| own.contains(fields[7]) && !own.contains(fields[5]));
    of_peer.map(|fields| fields[4].to_owned()).collect()
}

#[test]
fn a_controller_only_reads_and_only_at_the_control_socket() {
    in_namespace(|| {
        let node = Node0::new();
        make_interface(INTERFACE);
        let forwarder = Forwarder::start(&node.path("forwarder.sock"), ANNOUNCE);
        let controller = node.start();
        controller.until_routes(&both(1000));
        forwarder.serve(&["web"]);
        forwarder.reload(ANNOUNCE);
        until("it has read again", || controller.show().generation == 2);
        let reads = ["backend_list", "config_show", "service_list", "status"];
        assert_eq!(forwarder.asked(), BTreeSet::from(reads));
        let path = node.path("forwarder.sock").display().to_string();
        assert_eq!(connected(controller.pid()), BTreeSet::from([path]));
    });
}

#[test]
fn another_configuration_is_followed() {
    in_namespace(|| {
        let node = Node0::new();
        make_interface(INTERFACE);
        let forwarder = Forwarder::start(&node.path("forwarder.sock"), ANNOUNCE);
        let controller = node.start();
        controller.until_routes(&both(1000));
        // One that is published and not in force yet counts for nothing.
        forwarder.say(|said| {
            said.generation = 2;
            said.text = said.text.replace("[announce]", "[announce]\nannounce_when = [\"x\"]");
        });
        thread::sleep(Duration::from_millis(500));
        assert_eq!(controller.show().generation, 1);
        // Nor does one that this release cannot read.
        forwarder.say(|said| (said.in_force, said.text) = (2, "[future]\n".to_owned()));
        thread::sleep(Duration::from_millis(500));
        assert_eq!((controller.show().generation, routes(1000)), (1, both(1000)));
        // Without [announce] nothing is announced.
        forwarder.reload("");
        controller.until_routes(&Metrics::new());
        assert_eq!(controller.show().bgp, None);
        forwarder.reload(&format!("{ANNOUNCE}table = 1001\n"));
        until("another table", || routes(1001) == both(1000));
        let (_, log) = controller.end(Signal::SIGTERM);
        assert!(log.contains("cannot read the forwarder's configuration"), "{log}");
    });
}

#[test]
fn a_second_controller_at_the_socket_fails_and_touches_nothing() {
    in_namespace(|| {
        let node = Node0::new();
        make_interface(INTERFACE);
        let _forwarder = Forwarder::start(&node.path("forwarder.sock"), ANNOUNCE);
        let controller = node.start();
        controller.until_routes(&both(1000));
        let second = node.command().output().unwrap();
        assert_eq!(second.status.code(), Some(1));
        let words = String::from_utf8(second.stderr).unwrap();
        assert!(words.contains("guideway-controller: --socket: "), "{words}");
        assert_eq!(routes(1000), both(1000));
        assert_eq!(controller.vips().len(), 2);
    });
}

#[test]
fn the_manager_answers_the_watchdog() {
    in_namespace(|| {
        let node = Node0::new();
        let controller = node.start();
        let begin = Instant::now();
        // The limit is 2 s, so that there has to be one each second at the least.
        (0..4).for_each(|_| _ = node.notification("WATCHDOG=1"));
        assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
        controller.end(Signal::SIGTERM);
    });
}
