//! Output of the programs to stdout and stderr.
//!
//! `println!` and `eprintln!` panic if the stream fails: its reader is gone, or its disk is full. A lint
//! forbids them. A command, for which an operator waits, calls [`print()`] for its result and [`report`]
//! for everything else. A daemon writes through a [`Queue`], because a reader that stops reading must not
//! stop the daemon.
#![forbid(unsafe_code)]

pub mod journal;
mod queue;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::process;

use rustix::event::{PollFd, PollFlags, poll};

pub use queue::{Encode, Queue, Standard};

/// Writes to stderr. Ignores a failure: no other stream could report it.
pub fn report(text: impl fmt::Display) {
    let _ = write_all(&mut io::stderr(), text.to_string().as_bytes());
}

/// Writes a result to stdout. A reader that stops early, such as `head`, is not a failure.
pub fn print(text: impl AsRef<[u8]>) -> io::Result<()> {
    print_part(text).map(|_has_reader| ())
}

/// Writes a part of a result to stdout, and says whether the reader may want the next part.
pub fn print_part(text: impl AsRef<[u8]>) -> io::Result<bool> {
    let mut stdout = io::stdout();
    match write_all(&mut stdout, text.as_ref()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) => accepted(Err(error)).map(|()| false),
    }
}

/// Parses the command line. Ends the program itself after help or version (status 0), after a mistake
/// (status 2), and if it cannot write the help or version (status 1).
pub fn arguments<T: clap::Parser>() -> T {
    arguments_from(env::args_os())
}

/// Parses a command line as [`arguments`] does. The first of it is the program's name.
pub fn arguments_from<T: clap::Parser>(line: impl IntoIterator<Item = OsString>) -> T {
    let error = match T::try_parse_from(line) {
        Ok(arguments) => return arguments,
        Err(error) => error,
    };
    let written = accepted(error.print().and_then(|()| io::stdout().flush()));
    if let (Err(failure), false) = (written, error.use_stderr()) {
        report(format_args!("error: cannot write the result: {failure}\n"));
        process::exit(1);
    }
    process::exit(error.exit_code());
}

/// Turns a broken pipe into success.
fn accepted(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes everything, as `Write::write_all` does, and waits if another process has made the stream
/// non-blocking.
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
