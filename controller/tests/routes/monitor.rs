//! What the kernel tells of routes, links and rules, as `ip monitor` prints it.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::space::{try_ip, until};

/// A running `ip monitor` in the namespace of the thread that started it.
pub(crate) struct Monitor {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    /// The number of marks until now.
    marks: Cell<u32>,
}

/// A route that only tells that the monitor is up to date.
const MARK: &str = "192.0.2.250";

impl Monitor {
    /// Starts one, and waits until it hears the kernel.
    pub(crate) fn start() -> Monitor {
        let mut child = Command::new("ip")
            .args(["-N", "-o", "monitor", "route", "link", "rule", "address"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            output.lines().map_while(Result::ok).for_each(|line| into.lock().push(line));
        });
        let monitor = Monitor { child, lines, reader: Some(reader), marks: 0.into() };
        monitor.lines();
        monitor
    }

    /// The lines since the last call, until this one.
    pub(crate) fn lines(&self) -> Vec<String> {
        // One that no earlier call made, and that others may remove, too.
        self.marks.set(self.marks.get() + 1);
        let route = format!("blackhole {MARK} table 77 metric {}", self.marks.get());
        let end = format!(" metric {} ", self.marks.get());
        let is_mark = |line: &String| line.contains(MARK) && format!("{line} ").contains(&end);
        until("the mark", || {
            try_ip(&format!("route add {route}"));
            try_ip(&format!("route del {route}"));
            self.lines.lock().iter().any(is_mark)
        });
        let lines = std::mem::take(&mut *self.lines.lock());
        lines.into_iter().filter(|line| !line.contains(MARK)).collect()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
    }
}
