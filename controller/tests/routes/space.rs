//! A network namespace for a test, and the thread of the routes in it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use guideway_controller::routes::{Handle, Options, Report, Wanted, start_with};
use nix::sched::{CloneFlags, unshare};
use parking_lot::Mutex;

/// The forwarder's interface.
pub(crate) const INTERFACE: &str = "gwvip";

/// Runs a test on a thread that has a network namespace of its own, which ends with it.
pub(crate) fn in_namespace(test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: this test needs root");
        return;
    }
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
            ip("link set lo up");
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs `ip` in the namespace of the calling thread.
pub(crate) fn ip(arguments: &str) -> String {
    run(&format!("ip {arguments}"))
}

/// Runs a command, which must succeed, and returns what it prints.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `ip`, and takes a refusal of the kernel for an answer.
pub(crate) fn try_ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split_whitespace()).output().unwrap().status.success()
}

/// Runs lines for `ip -batch`.
pub(crate) fn ip_batch(lines: &str) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
    ip(&format!("-batch {}", file.path().display()));
}

/// Makes a TUN device as the forwarder's, which is up.
pub(crate) fn make_interface(name: &str) {
    ip(&format!("tuntap add dev {name} mode tun"));
    ip(&format!("link set {name} up"));
}

/// Waits until a condition holds, and returns how long that took. Fails after 10 s.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
    begin.elapsed()
}

/// An address with its metric, as the tests name them.
pub(crate) type Metrics = BTreeMap<IpAddr, u32>;

pub(crate) fn metrics(of: &[(&str, u32)]) -> Metrics {
    of.iter().map(|(address, metric)| (address.parse().unwrap(), *metric)).collect()
}

/// So many addresses of both families, with one metric.
pub(crate) fn many(count: u32, metric: u32) -> Metrics {
    (0..count).map(|n| (address(n), metric)).collect()
}

/// The address of a number: IPv4 of even ones, and IPv6 of odd ones.
pub(crate) fn address(n: u32) -> IpAddr {
    if n.is_multiple_of(2) {
        Ipv4Addr::from_bits(u32::from_be_bytes([198, 18, 0, 0]) + n).into()
    } else {
        Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + u128::from(n)).into()
    }
}

/// The thread of the routes, and what it has reported.
pub(crate) struct Rig {
    pub(crate) handle: Handle,
    reports: Arc<Mutex<Vec<(Instant, Report)>>>,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Rig {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&reports);
        let report = move |report| into.lock().push((Instant::now(), report));
        Rig { handle: start_with(options, report).unwrap(), reports }
    }

    pub(crate) fn want(&self, metrics: &Metrics) {
        self.want_at(INTERFACE, 1000, metrics);
    }

    pub(crate) fn want_at(&self, interface: &str, table: u32, metrics: &Metrics) {
        let metrics = Arc::new(metrics.clone());
        self.handle.want(Wanted { interface: interface.to_owned(), table, metrics });
    }

    /// Wants routes, and waits until they are reported and there.
    pub(crate) fn install(&self, metrics: &Metrics) -> Duration {
        let begin = Instant::now();
        self.want(metrics);
        until("what is wanted is reported", || self.installed().as_ref() == Some(metrics));
        let took = begin.elapsed();
        assert_eq!(&routes(1000), metrics);
        took
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
        self.reports.lock().iter().map(|(_, report)| report.clone()).collect()
    }

    /// Drops what was reported until now.
    pub(crate) fn forget(&self) {
        self.reports.lock().clear();
    }

    /// What was reported as installed last.
    pub(crate) fn installed(&self) -> Option<Metrics> {
        self.reports.lock().iter().rev().find_map(|(_, report)| match report {
            Report::Installed(metrics) => Some((**metrics).clone()),
            _ => None,
        })
    }

    /// How many routes were reported as put back.
    pub(crate) fn restored(&self) -> usize {
        let count = |report: &Report| match report {
            Report::Restored { routes } => *routes,
            _ => 0,
        };
        self.reports().iter().map(count).sum()
    }
}

/// The routes of protocol 200 in a table, by iproute2. An address with two of them has both metrics in it, which no
/// test wants.
pub(crate) fn routes(table: u32) -> Metrics {
    let mut metrics = Metrics::new();
    for family in ["-4", "-6"] {
        for line in lines(&format!("{family} -N route show table {table} proto 200")) {
            let (address, metric) = parse(&line);
            assert_eq!(metrics.insert(address, metric), None, "two routes to {address}");
        }
    }
    metrics
}

/// The lines that `ip` prints. A table that does not exist has none.
pub(crate) fn lines(arguments: &str) -> Vec<String> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Address and metric of a line of iproute2.
pub(crate) fn parse(line: &str) -> (IpAddr, u32) {
    let mut words = line.split_whitespace();
    let address = words.next().unwrap().parse().unwrap();
    let metric = words.skip_while(|word| *word != "metric").nth(1).unwrap();
    (address, metric.parse().unwrap())
}
