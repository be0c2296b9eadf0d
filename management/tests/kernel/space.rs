//! Network namespaces for tests.

use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

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
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs lines for `ip -batch` in the namespace of the calling thread.
pub(crate) fn ip_batch(lines: &str) {
    let output = batch(lines);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs lines for `ip -batch`, of which the kernel may refuse some.
pub(crate) fn ip_attempts(lines: &str) {
    batch(lines);
}

fn batch(lines: &str) -> Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
    Command::new("ip").arg("-force").arg("-batch").arg(file.path()).output().unwrap()
}

/// Another namespace, held by a process.
pub(crate) struct Space(Child);

impl Space {
    pub(crate) fn new() -> Space {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let space = Space(child);
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        until("another namespace", || {
            let path = format!("/proc/{}/ns/net", space.0.id());
            std::fs::read_link(path).is_ok_and(|namespace| namespace != own)
        });
        space.ip("link set lo up");
        space
    }

    /// What names it for `ip link set DEVICE netns`.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn ip_batch(&self, lines: &str) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        self.ip(&format!("-batch {path}"));
    }

    pub(crate) fn ip(&self, arguments: &str) -> String {
        let id = self.0.id().to_string();
        let output = Command::new("nsenter")
            .args(["--net", "--target", &id, "ip"])
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {arguments}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A TAP device that a process holds, as Guideway does. It ends with the process.
pub(crate) struct Tap(Child);

impl Tap {
    pub(crate) fn new(name: &str) -> Tap {
        // TUNSETIFF with IFF_TAP | IFF_NO_PI.
        let hold = "import fcntl, struct, sys, time; f = open('/dev/net/tun', 'r+b', buffering=0); \
            fcntl.ioctl(f, 0x400454ca, struct.pack('16sH22x', sys.argv[1].encode(), 0x1002)); time.sleep(600)";
        let child = Command::new("python3").args(["-c", hold, name]).spawn().unwrap();
        let tap = Tap(child);
        until("the device", || ip("link show").contains(&format!(" {name}: ")));
        tap
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Waits until a condition holds, and returns how long that took. Fails after 30 s: on a busy machine the kernel may need
/// seconds until a link is up, and asks for a neighbour again every 5 s.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds() {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "in vain: {what}\n{}{}",
            ip("link show"),
            ip("neighbor show")
        );
        thread::sleep(Duration::from_millis(1));
    }
    begin.elapsed()
}
