//! Commands, processes, and what it takes to wait for them.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A process that ends with its value.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        Running(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Installs the route of an address on the node.
pub(crate) fn announce(address: &str, metric: u32) {
    route("add", address, metric);
}

/// Changes the metric of an address's route, as the thread of the routes does: the new one first.
pub(crate) fn change(address: &str, from: u32, to: u32) {
    route("append", address, to);
    route("del", address, from);
}

/// Removes the route of an address.
pub(crate) fn withdraw(address: &str, metric: u32) {
    route("del", address, metric);
}

fn route(verb: &str, address: &str, metric: u32) {
    let family = if address.parse::<IpAddr>().unwrap().is_ipv4() { "-4" } else { "-6" };
    run(&format!(
        "ip {family} route {verb} {address} dev gwvip table 1000 proto 200 metric {metric}"
    ));
}

/// Runs lines for `ip -batch`, and returns how long that took.
pub(crate) fn run_batch(lines: &str) -> Duration {
    let begin = Instant::now();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    run(&format!("ip -batch {}", file.path().display()));
    begin.elapsed()
}

/// Runs a command in the namespace of the calling thread, which must succeed, and returns what it prints.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    output(Command::new(words.next().unwrap()).args(words))
}

pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn birdc(socket: &Path, command: &str) -> String {
    let mut birdc = Command::new("/usr/sbin/birdc");
    let output = birdc.arg("-s").arg(socket).args(command.split_whitespace()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until a condition holds, and returns how long that took.
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) -> Duration {
    until_or(what, holds, String::new)
}

/// Waits until a condition holds; fails after 20 s, with more words.
pub(crate) fn until_or(
    what: &str,
    mut holds: impl FnMut() -> bool,
    more: impl Fn() -> String,
) -> Duration {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(20), "in vain: {what}: {}", more());
        thread::sleep(Duration::from_millis(10));
    }
    begin.elapsed()
}
