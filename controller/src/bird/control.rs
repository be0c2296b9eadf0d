//! BIRD's control socket: one command a line, and its reply.
//!
//! A reply is lines of four digits and `-` or a space, then text. The line with the space is the last one. A line that
//! begins with a space goes on with the code of the line before; one with `+` is none of the reply. Codes from 8000 on
//! are errors.
//!
//! A reply may be large: a route takes half a dozen lines. It is bounded by [`LARGEST`], and everything by a deadline.
//! Whatever the other end sends, there is a reply or an error.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of the largest reply: 65,535 routes with many communities.
const LARGEST: usize = 64 << 20;

/// Bytes of the longest line. BIRD writes at most 1 KiB at once.
const LONGEST: usize = 64 << 10;

/// How long a reply may take.
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);

/// Codes from here on are errors.
const ERRORS: u16 = 8000;

/// Why there is no reply, or a bad one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nobody listens, or the connection ended.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("BIRD does not answer")]
    Silent,
    /// It is not what BIRD sends.
    #[error("this is no reply of BIRD: {0}")]
    Garbled(String),
    /// BIRD refuses the command.
    #[error("{text}")]
    Refused {
        /// The code.
        code: u16,
        /// Why.
        text: String,
    },
}

/// A line of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// What kind of line it is.
    pub(super) code: u16,
    /// The text, without the code.
    pub(super) text: String,
}

/// A connection to BIRD.
#[derive(Debug)]
pub(super) struct Control {
    stream: UnixStream,
    /// What was received and is no whole line yet.
    rest: Vec<u8>,
    /// BIRD's release.
    pub(super) version: String,
}

impl Control {
    /// Connects, and waits for the greeting.
    pub(super) fn open(socket: &Path) -> Result<Control, Error> {
        let stream = UnixStream::connect(socket)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut control = Control { stream, rest: Vec::new(), version: String::new() };
        let lines = control.reply(Instant::now() + PATIENCE)?;
        // `BIRD 2.0.12 ready.`
        let greeting = lines.iter().find(|line| line.code == 1);
        let version = greeting.and_then(|line| line.text.split_whitespace().nth(1));
        match version {
            Some(version) => control.version = version.to_owned(),
            None => return Err(garbled(lines.first().map_or("", |line| &line.text))),
        }
        Ok(control)
    }

    /// Sends a command and returns the reply's lines, all of them without an error.
    pub(super) fn ask(&mut self, command: &str) -> Result<Vec<Line>, Error> {
        let deadline = Instant::now() + PATIENCE;
        self.stream.write_all(format!("{command}\n").as_bytes()).map_err(late)?;
        let lines = self.reply(deadline)?;
        match lines.iter().find(|line| line.code >= ERRORS) {
            Some(line) => Err(Error::Refused { code: line.code, text: line.text.clone() }),
            None => Ok(lines),
        }
    }

    fn reply(&mut self, deadline: Instant) -> Result<Vec<Line>, Error> {
        let mut reply = Reply::default();
        let mut buffer = [0; 16 << 10];
        loop {
            while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let is_last = reply.take(&self.rest[..end])?;
                self.rest.drain(..=end);
                if is_last {
                    return Ok(reply.lines);
                }
            }
            if self.rest.len() > LONGEST {
                return Err(garbled("an endless line"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Silent);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(length) => self.rest.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(late(error)),
            }
        }
    }
}

/// A reply as far as it was received.
#[derive(Debug, Default)]
struct Reply {
    lines: Vec<Line>,
    bytes: usize,
}

impl Reply {
    /// Takes a line. Returns whether it is the last one.
    fn take(&mut self, line: &[u8]) -> Result<bool, Error> {
        self.bytes += line.len();
        if self.bytes > LARGEST {
            return Err(garbled("an endless reply"));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (code, text, is_last) = match line {
            [b'+', ..] => return Ok(false),
            [b' ', rest @ ..] => match self.lines.last() {
                Some(before) => (before.code, text(rest), false),
                None => return Err(garbled(&text(line))),
            },
            [a, b, c, d, end @ (b' ' | b'-'), rest @ ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()) =>
            {
                let code = [a, b, c, d].iter().fold(0, |n, &&d| n * 10 + u16::from(d - b'0'));
                (code, text(rest), *end == b' ')
            }
            _ => return Err(garbled(&text(line))),
        };
        self.lines.push(Line { code, text });
        Ok(is_last)
    }
}

fn garbled(text: &str) -> Error {
    Error::Garbled(text.chars().take(100).collect())
}

/// A timeout of the socket is silence.
fn late(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Silent,
        _ => Error::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    /// What a client gets of a BIRD that greets and then sends these bytes for a command.
    fn asked(reply: &[u8]) -> Result<Vec<Line>, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ctl");
        let listener = UnixListener::bind(&path).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(b"0001 BIRD 2.0.12 ready.\n").unwrap();
                let mut command = [0; 5];
                stream.read_exact(&mut command).unwrap();
                assert_eq!(&command, b"show\n");
                // The client may be gone already.
                let _ = stream.write_all(reply);
            });
            let mut control = Control::open(&path)?;
            assert_eq!(control.version, "2.0.12");
            control.ask("show")
        })
    }

    fn line(code: u16, text: &str) -> Line {
        Line { code, text: text.to_owned() }
    }

    #[test]
    fn lines_are_told_from_their_codes() {
        let reply = b"2002-Name  Proto\n1002-a BGP\n b\n+spontaneous\n1006-  c\n \n0000 \nrest";
        assert_eq!(
            asked(reply).unwrap(),
            [
                line(2002, "Name  Proto"),
                line(1002, "a BGP"),
                line(1002, "b"),
                line(1006, "  c"),
                line(1006, ""),
                line(0, ""),
            ]
        );
    }

    #[test]
    fn errors_are_told_apart() {
        let refused = |reply: &[u8]| match asked(reply) {
            Err(Error::Refused { code, text }) => (code, text),
            other => panic!("{other:?}"),
        };
        let (code, text) = refused(b"0002-Reading configuration from a\n8002 a:3:1 syntax error\n");
        assert_eq!((code, text.as_str()), (8002, "a:3:1 syntax error"));
        assert_eq!(refused(b"9001 syntax error\n").0, 9001);
        assert!(matches!(asked(b"0000"), Err(Error::Io(_))));
        for garbled in ["\n", "00 \n", "00a0 \n", "0000\n", " \n", "1002+a\n"] {
            assert!(matches!(asked(garbled.as_bytes()), Err(Error::Garbled(_))), "{garbled:?}");
        }
        let endless = vec![b'0'; LONGEST + (32 << 10)];
        assert!(matches!(asked(&endless), Err(Error::Garbled(_))));
    }

    #[test]
    fn a_bird_that_stands_still_is_silent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ctl");
        let missing = Control::open(&path).unwrap_err();
        assert!(matches!(missing, Error::Io(_)), "{missing}");
        let _listener = UnixListener::bind(&path).unwrap();
        let begin = Instant::now();
        assert!(matches!(Control::open(&path), Err(Error::Silent)));
        assert!(begin.elapsed() >= PATIENCE);
        assert!(begin.elapsed() < 2 * PATIENCE);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_reply_or_an_error(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let mut reply = Reply::default();
            for line in &lines {
                if !matches!(reply.take(line), Ok(false)) {
                    break;
                }
            }
            prop_assert!(reply.lines.len() <= lines.len());
            prop_assert!(reply.lines.iter().all(|line| line.code <= 9999));
        }
    }
}
