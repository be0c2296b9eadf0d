//! A running controller.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use guideway_api::{Daemon, Event, Events, Node, Request, Response, Vip, VipOrder};
use guideway_client::{Client, Error};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::space::{Metrics, routes, until};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The paths of a node. They stay when a controller ends.
pub(crate) struct Node0 {
    pub(crate) directory: TempDir,
    notified: UnixDatagram,
}

impl Node0 {
    pub(crate) fn new() -> Node0 {
        let directory = tempfile::tempdir().unwrap();
        let notified = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        notified.set_read_timeout(Some(PATIENCE)).unwrap();
        Node0 { directory, notified }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The command that starts a controller.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guideway-controller"));
        for (option, name) in [
            ("--forwarder", "forwarder.sock"),
            ("--socket", "controller.sock"),
            ("--read-socket", "read.sock"),
            ("--state-directory", "state"),
            ("--listen", "http.sock"),
        ] {
            command.arg(option).arg(self.path(name));
        }
        command
            .env("NOTIFY_SOCKET", self.path("notify"))
            .env("WATCHDOG_USEC", "2000000")
            .env("GUIDEWAY_LOG", "debug")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a controller, and waits until it says that it is ready.
    pub(crate) fn start(&self) -> Controller<'_> {
        let controller = Controller { node: self, child: self.command().spawn().unwrap() };
        assert!(self.notification("READY=1").starts_with("READY=1\nSTATUS=Forwarder absent"));
        controller
    }

    /// The next message to the service manager that contains this.
    pub(crate) fn notification(&self, wanted: &str) -> String {
        let mut bytes = [0; 1024];
        loop {
            let length = match self.notified.recv(&mut bytes) {
                // A child of another test has ended.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                received => received.expect(wanted),
            };
            let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if message.contains(wanted) {
                return message;
            }
        }
    }

    pub(crate) fn ask_at(&self, socket: &str, request: &Request) -> Result<Response, Error> {
        Client::connect(&self.path(socket), Daemon::Controller, PATIENCE)?.send(request)
    }
}

/// A controller that runs. It is killed when it is dropped, which shows what a test has not ended.
pub(crate) struct Controller<'a> {
    pub(crate) node: &'a Node0,
    child: Child,
}

impl Controller<'_> {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Ends it, and returns how, and its log.
    pub(crate) fn end(mut self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(!log.contains("panicked"), "{log}");
        (status, log)
    }

    pub(crate) fn ask(&self, request: &Request) -> Result<Response, Error> {
        self.node.ask_at("controller.sock", request)
    }

    pub(crate) fn vips(&self) -> Vec<Vip> {
        let Response::Vips(vips) = self.ask(&Request::VipList {}).unwrap() else { panic!("vips") };
        vips
    }

    pub(crate) fn vip(&self, address: &str) -> Option<Vip> {
        self.vips()
            .into_iter()
            .find(|vip| vip.address == address.parse::<std::net::IpAddr>().unwrap())
    }

    pub(crate) fn show(&self) -> Node {
        let Response::Node(node) = self.ask(&Request::NodeShow {}).unwrap() else { panic!("node") };
        node
    }

    /// Orders something for addresses; it must not be refused, and must be stored.
    pub(crate) fn order(&self, order: VipOrder, addresses: &[&str]) -> (Vec<Vip>, usize) {
        match self.ask(&vip_set(order, addresses)).unwrap() {
            Response::VipsSet { vips, changed, stored: true } => (vips, changed),
            other => panic!("{other:?}"),
        }
    }

    /// The events that it has recorded.
    pub(crate) fn events(&self) -> Vec<Event> {
        let request =
            Request::Monitor { since: None, instance: None, kinds: vec![], follow: false };
        let socket = self.node.path("controller.sock");
        let mut client = Client::connect(&socket, Daemon::Controller, PATIENCE).unwrap();
        client.post(&request).unwrap();
        let mut all = Vec::new();
        loop {
            let Response::Events(Events { events, more, .. }) = client.receive(&request).unwrap()
            else {
                panic!("events")
            };
            all.extend(events);
            if !more {
                return all;
            }
        }
    }

    /// How many events of a kind there are.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.events().iter().filter(|event| event.happening.name() == kind).count()
    }

    /// Waits until the kernel has these routes, and returns how long that took.
    pub(crate) fn until_routes(&self, wanted: &Metrics) -> Duration {
        until(&format!("{wanted:?}"), || &routes(1000) == wanted)
    }
}

impl Drop for Controller<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn vip_set(order: VipOrder, addresses: &[&str]) -> Request {
    Request::VipSet {
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        order,
        peers: vec![],
        next_hops: vec![],
        reason: Some("a test".to_owned()),
    }
}

/// A page of the HTTP server: its status and its body.
pub(crate) fn get(node: &Node0, page: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(node.path("http.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
