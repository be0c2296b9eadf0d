//! A daemon whose responses the test sets, and the binary that asks it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

pub(crate) const GREETING: &str = r#"{"server":"guideway","version":"0.1.0","protocol":7}"#;
/// The greeting of the controller.
pub(crate) const CONTROLLER: &str =
    r#"{"server":"guideway-controller","version":"0.1.0","protocol":7}"#;

/// A directory with the socket of a daemon, and a file.
pub(crate) struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Site {
        Site { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn file(&self, content: impl AsRef<[u8]>) -> String {
        let path = self.directory.path().join("file.toml");
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().into()
    }

    /// Starts a daemon for one connection: sends the greeting, then runs `script` and returns its result.
    pub(crate) fn daemon<T: Send + 'static>(
        &self,
        greeting: &str,
        script: impl FnOnce(BufReader<UnixStream>) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let greeting = format!("{greeting}\n");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
            script(BufReader::new(stream))
        })
    }

    /// Starts a daemon that reads one request, sends `response`, and returns the request's line.
    pub(crate) fn responds(&self, response: &str) -> JoinHandle<String> {
        self.responds_as(GREETING, response)
    }

    /// The same with another greeting.
    pub(crate) fn responds_as(&self, greeting: &str, response: &str) -> JoinHandle<String> {
        let response = format!("{response}\n");
        self.daemon(greeting, move |mut stream| {
            let mut request = String::new();
            stream.read_line(&mut request).unwrap();
            stream.get_mut().write_all(response.as_bytes()).unwrap();
            request
        })
    }

    /// Starts a daemon that serves one connection after the other: one response to each request, and at the
    /// end of a connection's responses the daemon closes it. Returns the requests.
    pub(crate) fn serves(&self, connections: Vec<Vec<String>>) -> JoinHandle<Vec<String>> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        thread::spawn(move || {
            let mut requests = Vec::new();
            for responses in connections {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(format!("{GREETING}\n").as_bytes()).unwrap();
                let mut stream = BufReader::new(stream);
                for response in responses {
                    let mut request = String::new();
                    if stream.read_line(&mut request).unwrap() == 0 {
                        break;
                    }
                    requests.push(request);
                    stream.get_mut().write_all(format!("{response}\n").as_bytes()).unwrap();
                }
            }
            requests
        })
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guidewayctl"));
        command.args(arguments).env("GUIDEWAY_SOCKET", self.socket()).stdin(Stdio::null());
        command
    }

    /// Starts a command whose stdout and stderr are pipes.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().expect("no signal ends it"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn is(&self, code: i32, stdout: &str, stderr: &str) {
        assert_eq!(
            (self.code, self.stdout.as_str(), self.stderr.as_str()),
            (code, stdout, stderr),
            "\n{}{}",
            self.stdout,
            self.stderr
        );
    }
}

/// A terminal of 24 rows and 200 columns.
pub(crate) struct Terminal {
    master: File,
    slave: File,
}

impl Terminal {
    pub(crate) fn new() -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).unwrap();
        Terminal { master: File::from(master), slave }
    }

    /// What a command writes to the terminal, whose line ends are a carriage return and a newline, until the
    /// command ends or has written `end`. The command has no other descriptor of the terminal.
    pub(crate) fn shows(mut self, mut command: Command, end: Option<&str>) -> String {
        let mut child = command.stdout(self.slave).stderr(Stdio::null()).spawn().unwrap();
        drop(command);
        let mut shown = Vec::new();
        let mut part = [0; 4096];
        loop {
            // With no process at its other side, the master has an error instead of an end.
            let read = self.master.read(&mut part).unwrap_or(0);
            shown.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&shown);
            if read == 0 || end.is_some_and(|end| text.contains(end)) {
                break;
            }
        }
        let _ = child.kill();
        child.wait().unwrap();
        String::from_utf8(shown).unwrap().replace("\r\n", "\n")
    }
}
