//! What the programs print.
//!
//! `println!` and `eprintln!` panic when the stream takes nothing more: its reader is gone, its disk is
//! full. No program uses them (a lint says so). A program that an operator waits for calls [`print()`]
//! for its result and [`tell`] for everything else. A daemon writes through a [`Queue`], because a
//! reader that has stopped reading must not stop the daemon.
#![forbid(unsafe_code)]

mod queue;

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::process;

use rustix::event::{PollFd, PollFlags, poll};

pub use queue::{Queue, Standard};

/// Writes to stderr. A failure is ignored: there is no other stream to report it on.
pub fn tell(text: impl fmt::Display) {
    let _ = write_all(&mut io::stderr(), text.to_string().as_bytes());
}

/// Writes a result to stdout. A reader that has seen enough, such as `head`, is no failure.
pub fn print(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut stdout = io::stdout();
    accepted(write_all(&mut stdout, text.as_ref()).and_then(|()| stdout.flush()))
}

/// Parses the command line. Help, the version and mistakes end the program here: with status 0, or 2
/// for a mistake, or 1 if stdout does not take the help.
pub fn arguments<T: clap::Parser>() -> T {
    let error = match T::try_parse() {
        Ok(arguments) => return arguments,
        Err(error) => error,
    };
    let written = accepted(error.print().and_then(|()| io::stdout().flush()));
    if let (Err(failure), false) = (written, error.use_stderr()) {
        tell(format_args!("error: cannot write the result: {failure}\n"));
        process::exit(1);
    }
    process::exit(error.exit_code());
}

fn accepted(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// `write_all` that also waits for a stream which another process has made non-blocking.
fn write_all(stream: &mut (impl Write + AsFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(stream, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
