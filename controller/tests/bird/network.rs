//! A node and a router in namespaces of their own, with a BIRD each.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use guideway_api::{BgpPeer as Session, BgpState};
use guideway_config::{Bgp, BgpPeer};
use guideway_controller::bird::{Handle, Plan, Report, start};
use nix::sched::{CloneFlags, unshare};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::command::{Running, birdc, output, run, until, until_or};
use crate::settings::{
    NODE4, NODE6, ROUTER_HEAD, ROUTER4, ROUTER6, peer, router_session, router_v4,
};

/// Where Debian has BIRD.
const BIRD: &str = "/usr/sbin/bird";

/// Runs a test on a thread that has a network namespace of its own.
pub(crate) fn with_network(test: impl FnOnce(&mut Network) + Send) {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
            test(&mut Network::new());
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// The network, the thread of BIRD on the node, and what it has reported.
pub(crate) struct Network {
    pub(crate) directory: TempDir,
    /// Keeps the router's namespace.
    space: Running,
    pub(crate) router: Option<Running>,
    pub(crate) bird: Option<Running>,
    pub(crate) handle: Option<Handle>,
    reports: Arc<Mutex<Vec<Report>>>,
}

impl Network {
    fn new() -> Network {
        let space = Running::start(
            Command::new("unshare").args(["-n", "sleep", "infinity"]).stdout(Stdio::null()),
        );
        let pid = space.pid();
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        until("the router's namespace", || {
            fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|other| other != own)
                && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c == "sleep\n")
        });
        let network = Network {
            directory: tempfile::tempdir().unwrap(),
            space,
            router: None,
            bird: None,
            handle: None,
            reports: Arc::new(Mutex::new(Vec::new())),
        };
        run("ip link set lo up");
        run(&format!("ip link add n0 type veth peer name r0 netns {pid}"));
        run(&format!("ip addr add {NODE4}/24 dev n0"));
        run(&format!("ip addr add {NODE6}/64 dev n0 nodad"));
        run("ip link set n0 up");
        run("ip tuntap add dev gwvip mode tun");
        run("ip link set gwvip up");
        for command in ["ip link set lo up", "ip link set r0 up"] {
            network.at_router(command);
        }
        network.at_router(&format!("ip addr add {ROUTER4}/24 dev r0"));
        network.at_router(&format!("ip addr add {ROUTER6}/64 dev r0 nodad"));
        // Without link-local addresses, BIRD has none to tell.
        until("link-local addresses", || {
            let is_there = |text: String| text.contains("fe80") && !text.contains("tentative");
            is_there(run("ip -6 addr show dev n0"))
                && is_there(network.at_router("ip -6 addr show dev r0"))
        });
        network
    }

    fn router_command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.space.pid())).arg(program);
        command
    }

    /// Runs a command in the router's namespace.
    pub(crate) fn at_router(&self, command: &str) -> String {
        let mut words = command.split_whitespace();
        let mut command = self.router_command(words.next().unwrap());
        output(command.args(words))
    }

    /// A path in the router's directory.
    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the router's BIRD, with these sessions beside what every router has.
    pub(crate) fn start_router(&mut self, sessions: &str) {
        let text = format!("{ROUTER_HEAD}{sessions}");
        let file = self.at("router.conf");
        fs::write(&file, text).unwrap();
        let mut command = self.router_command(BIRD);
        command.arg("-f").arg("-c").arg(&file).arg("-s").arg(self.at("router.ctl"));
        self.router = Some(Running::start(&mut command));
        until("the router's BIRD", || self.at("router.ctl").exists());
    }

    /// Starts the router with the sessions `n1` and `n2`, which has tables of its own, and returns the node's peer `b`
    /// for the second. BIRD tells sessions with one neighbour by no more than that, so each is from another address.
    pub(crate) fn start_two(&mut self) -> BgpPeer {
        run("ip addr add 10.9.1.2/24 dev n0");
        self.at_router("ip addr add 10.9.1.253/24 dev r0");
        let items = "local 10.9.1.253 as 65000; neighbor 10.9.1.2 as 65001; ttl security on;";
        let second = router_session("n2", items).replace("learnt", "other");
        let tables = "ipv4 table other4; ipv6 table other6;\n";
        self.start_router(&format!("{}{tables}{second}", router_v4("n1")));
        BgpPeer {
            address: "10.9.1.253".parse().unwrap(),
            source: Some("10.9.1.2".parse().unwrap()),
            bfd: false,
            ..peer("b")
        }
    }

    /// What the router's BIRD answers.
    pub(crate) fn ask_router(&self, command: &str) -> String {
        birdc(&self.at("router.ctl"), command)
    }

    /// What the node's BIRD answers.
    pub(crate) fn ask_bird(&self, command: &str) -> String {
        birdc(&self.run_directory().join("bird.ctl"), command)
    }

    /// The directory of the node's BIRD.
    pub(crate) fn run_directory(&self) -> PathBuf {
        self.at("run")
    }

    /// The configuration of the node's BIRD.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.run_directory().join("bird.conf")).unwrap_or_default()
    }

    /// Starts the thread of BIRD.
    pub(crate) fn start(&mut self) {
        let into = Arc::clone(&self.reports);
        self.handle = Some(start(move |report| into.lock().push(report)).unwrap());
    }

    /// Starts the node's BIRD, once it has a configuration.
    pub(crate) fn start_bird(&mut self) {
        let run = self.run_directory();
        until("the configuration", || run.join("bird.conf").exists());
        let mut command = Command::new(BIRD);
        command.arg("-f").arg("-c").arg(run.join("bird.conf")).arg("-s").arg(run.join("bird.ctl"));
        self.bird = Some(Running::start(&mut command));
    }

    /// Starts everything with a plan, and waits until these peers are established.
    pub(crate) fn establish(&mut self, plan: Plan, peers: &[&str]) {
        self.start();
        self.want(plan);
        self.start_bird();
        for peer in peers {
            self.await_state(peer, BgpState::Established);
        }
    }

    /// A plan with these peers.
    pub(crate) fn plan(&self, peers: Vec<BgpPeer>) -> Plan {
        let bgp = Bgp {
            local_as: 65001,
            router_id: None,
            allowed: vec!["203.0.113.0/24".parse().unwrap(), "2001:db8:f::/48".parse().unwrap()],
            drain_med: 1000,
            drain_prepend: 3,
            directory: self.run_directory(),
            program: BIRD.into(),
            peers,
        };
        Plan {
            bgp: Arc::new(bgp),
            router_id: NODE4.parse().unwrap(),
            interface: "gwvip".to_owned(),
            table: 1000,
            classes: BTreeMap::new(),
        }
    }

    pub(crate) fn want(&self, plan: Plan) {
        self.handle.as_ref().unwrap().want(Some(plan));
    }

    /// Wants a plan, and waits until BIRD runs by it.
    pub(crate) fn configure(&self, plan: Plan) {
        self.forget();
        let classes = plan.classes.keys().copied().collect();
        self.want(plan);
        self.await_report("configured", |report| {
            *report == Report::Configured { classes: std::clone::Clone::clone(&classes) }
        });
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
        self.reports.lock().clone()
    }

    /// Drops what was reported until now, but for the sessions.
    pub(crate) fn forget(&self) {
        self.reports.lock().retain(|report| matches!(report, Report::Sessions(_)));
    }

    pub(crate) fn await_report(&self, what: &str, mut is: impl FnMut(&Report) -> bool) {
        until(what, || self.reports.lock().iter().any(&mut is));
    }

    /// The last report of a session.
    pub(crate) fn session(&self, peer: &str) -> Option<Session> {
        let reports = self.reports.lock();
        let last = reports.iter().rev().find_map(|report| match report {
            Report::Sessions(sessions) => Some(sessions),
            _ => None,
        })?;
        last.iter().find(|session| session.name == peer).cloned()
    }

    pub(crate) fn await_session(
        &self,
        what: &str,
        peer: &str,
        mut is: impl FnMut(&Session) -> bool,
    ) -> Session {
        let mut found = None;
        until_or(
            what,
            || {
                self.session(peer).is_some_and(|session| {
                    let is = is(&session);
                    found = Some(session);
                    is
                })
            },
            || format!("{:?}", self.session(peer)),
        );
        found.unwrap()
    }

    pub(crate) fn await_state(&self, peer: &str, state: BgpState) -> Session {
        self.await_session(&format!("{peer} {}", state.name()), peer, |s| s.state == state)
    }

    /// Waits until the last error of a session has all of these words.
    pub(crate) fn await_error(&self, peer: &str, words: &[&str]) -> Session {
        self.await_session(&format!("{peer} says {words:?}"), peer, |session| {
            let error = session.error.as_deref().unwrap_or("");
            words.iter().all(|word| error.contains(word))
        })
    }

    /// Waits until the router has just these routes, of all peers.
    pub(crate) fn await_routes(&self, expected: &[&str]) {
        until_or(
            "the router's routes",
            || self.routes() == expected,
            || format!("{:?}, {expected:?}", self.routes()),
        );
    }

    /// The prefixes that the router has learnt, in order.
    pub(crate) fn routes(&self) -> Vec<String> {
        let mut prefixes: Vec<String> = ["learnt4", "learnt6"]
            .iter()
            .map(|table| self.ask_router(&format!("show route table {table}")))
            .flat_map(|text| {
                let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
                text.lines()
                    .filter(|line| !line.starts_with(' '))
                    .filter_map(first)
                    .collect::<Vec<_>>()
            })
            .filter(|word| word.contains('/'))
            .collect();
        prefixes.sort();
        prefixes
    }

    /// All attributes of a prefix at the router.
    pub(crate) fn attributes(&self, prefix: &str) -> String {
        let table = if prefix.contains(':') { "learnt6" } else { "learnt4" };
        self.ask_router(&format!("show route {prefix} all table {table}"))
    }

    pub(crate) fn await_attributes(&self, prefix: &str, words: &[&str]) -> String {
        let all = || {
            let text = self.attributes(prefix);
            words.iter().all(|word| text.contains(word))
        };
        until_or(&format!("{prefix} has {words:?}"), all, || self.attributes(prefix));
        self.attributes(prefix)
    }

    /// Updates of routes that the router's session has received.
    pub(crate) fn updates(&self, session: &str) -> u64 {
        let text = self.ask_router(&format!("show protocols all {session}"));
        let counts = text.lines().filter_map(|line| {
            let rest = line.trim().strip_prefix("Import updates:")?;
            rest.split_whitespace().next()?.parse::<u64>().ok()
        });
        counts.sum()
    }
}
