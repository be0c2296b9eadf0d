//! systemd-networkd beside the controller, with and without the files that are shipped for it.
//!
//! It runs with directories of its own in a mount namespace. No udev runs there, so what it would say is written down:
//! without that, networkd takes the machine for a container, configures interfaces before it has read the routes, and
//! removes none.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use guideway_controller::routes::{Probes, Report};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, kill_process};

use crate::monitor::Monitor;
use crate::space::{Metrics, Rig, in_namespace, ip, lines, metrics, routes, run, until};

/// A file of an operator who has networkd configure each interface.
const ALL: &str = "[Match]\nName=*\n[Network]\nAddress=10.5.0.1/24\nLinkLocalAddressing=no\n";
const RULE: &str = "lookup 77";

fn some() -> Metrics {
    metrics(&[("192.0.2.1", 1000), ("192.0.2.2", 1000), ("2001:db8::1", 2000)])
}

/// A process that ends with this.
struct Running(Child);

impl Running {
    fn start(program: &str, arguments: &[&str]) -> Running {
        let mut command = Command::new(program);
        Running(command.args(arguments).stderr(Stdio::null()).spawn().expect(program))
    }

    /// A TUN device that a process holds, as the forwarder does. One that nobody holds has no carrier.
    fn hold_interface(name: &str) -> Running {
        // TUNSETIFF with IFF_TUN | IFF_NO_PI.
        let hold = "import fcntl, struct, sys, time; f = open('/dev/net/tun', 'r+b', buffering=0); \
            fcntl.ioctl(f, 0x400454ca, struct.pack('16sH22x', sys.argv[1].encode(), 0x1001)); \
            time.sleep(600)";
        let holder = Running::start("python3", &["-c", hold, name]);
        until("the device", || ip("link show").contains(&format!(" {name}: ")));
        ip(&format!("link set {name} up"));
        holder
    }

    fn networkd() -> Running {
        Running::start("/lib/systemd/systemd-networkd", &[])
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

/// Runs a test beside the interfaces of the forwarder and another one.
fn beside_networkd(test: impl FnOnce() + Send) {
    in_namespace(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        run("mount --make-rprivate /");
        run("mount -t tmpfs tmpfs /run");
        run("mount -t tmpfs tmpfs /etc/systemd");
        run("mount -t sysfs sysfs /sys");
        run("mkdir -p /run/systemd/network /run/systemd/networkd.conf.d /run/systemd/netif");
        run("chown -R systemd-network: /run/systemd/netif");
        fs::write("/run/systemd/network/50-all.network", ALL).unwrap();
        let _holders = ["gwvip", "gwcheck"].map(Running::hold_interface);
        ip("link add edge0 type veth peer name edge1");
        ip("link set edge0 up");
        ip("link set edge1 up");
        ip(&format!("rule add priority 100 {RULE}"));
        fs::create_dir_all("/run/udev/data").unwrap();
        for device in fs::read_dir("/sys/class/net").unwrap() {
            let index = fs::read_to_string(device.unwrap().path().join("ifindex")).unwrap();
            fs::write(format!("/run/udev/data/n{}", index.trim()), "I:1\n").unwrap();
        }
        test();
    });
}

/// Has the thread keep a way of probes, and returns the kernel's word of it.
fn want_probes(rig: &Rig) -> [Vec<String>; 2] {
    let sources = vec!["198.51.100.1".parse().unwrap()];
    let (interface, table) = ("gwcheck".to_owned(), 1001);
    rig.handle.want_probes(Some(Probes { interface, table, sources }));
    until("the way of probes", || rig.reports().contains(&Report::ProbesReady { is_ready: true }));
    way_of_probes()
}

fn way_of_probes() -> [Vec<String>; 2] {
    let mut rules = lines("rule show");
    rules.retain(|rule| rule.contains("198.51.100.1"));
    [rules, lines("route show table 1001")]
}

fn has_address(interface: &str) -> bool {
    ip(&format!("address show dev {interface}")).contains("10.5.0.1")
}

fn removed(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.contains("Deleted") && line.contains("proto 200")).collect()
}

#[test]
fn what_networkd_removes_is_back_soon() {
    beside_networkd(|| {
        let rig = Rig::new();
        rig.install(&some());
        let way = want_probes(&rig);
        assert_eq!(way.each_ref().map(Vec::len), [1, 2], "a rule and two routes");
        for restarts in 1..=2 {
            let monitor = Monitor::start();
            let mut lines = Vec::new();
            let networkd = Running::networkd();
            until("networkd removes the routes", || {
                lines.extend(monitor.lines());
                let of_addresses = |line: &&&String| line.contains("table 1000 ");
                removed(&lines).iter().filter(of_addresses).count() == some().len()
            });
            let took =
                until("the routes are back", || routes(1000) == some() && way_of_probes() == way);
            assert!(took < Duration::from_secs(1), "{took:?}");
            println!("networkd's restart {restarts}: the routes are back {took:?} later");
            until("the report", || rig.restored() == restarts * some().len());
            drop(networkd);
        }
        let is_rule = |report: &Report| matches!(report, Report::ProbesRestored { rules: 1.., .. });
        assert!(rig.reports().iter().any(is_rule), "networkd has removed it: {:?}", rig.reports());
        assert!(!ip("rule show").contains(RULE), "networkd removes rules, too");
        assert!(ip("rule show").contains("lookup main"));
    });
}

#[test]
fn with_the_shipped_files_networkd_removes_nothing() {
    beside_networkd(|| {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd-networkd");
        for file in ["networkd.conf.d/guideway.conf", "network/00-guideway.network"] {
            fs::copy(shipped.join(file), Path::new("/run/systemd").join(file)).unwrap();
        }
        let rig = Rig::new();
        rig.install(&some());
        let way = want_probes(&rig);
        let monitor = Monitor::start();
        for _ in 0..2 {
            // What tells that networkd has come so far.
            ip("address flush dev edge0 scope global");
            let _networkd = Running::networkd();
            until("networkd configures", || has_address("edge0"));
            // In the other test the routes were removed by then.
            thread::sleep(Duration::from_millis(500));
            for name in ["gwvip", "gwcheck"] {
                assert!(!has_address(name), "the interface is the forwarder's");
            }
        }
        assert_eq!(removed(&monitor.lines()), Vec::<&String>::new());
        assert_eq!(rig.restored(), 0);
        assert_eq!(routes(1000), some());
        assert_eq!(way_of_probes(), way);
        assert!(ip("rule show").contains(RULE));
    });
}
