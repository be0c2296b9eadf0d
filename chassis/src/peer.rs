//! Who sends requests.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt};

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Full,
    /// Only requests that change nothing.
    Read,
}

/// The process behind a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user that it ran as when it connected.
    pub uid: u32,
    /// Its number then; 0 if it is of another process namespace.
    pub pid: u32,
    /// Its name then; empty if it has ended already.
    pub process: String,
    /// What it may do.
    pub access: Access,
}

impl Peer {
    /// The process at the other end of a unix socket.
    ///
    /// # Errors
    /// If the operating system does not say it.
    pub fn of(stream: &impl AsFd, access: Access) -> io::Result<Peer> {
        // rustix would take a process of another namespace, number 0, for impossible.
        let credentials = getsockopt(stream, sockopt::PeerCredentials)?;
        let pid = u32::try_from(credentials.pid()).unwrap_or(0);
        Ok(Peer { uid: credentials.uid(), pid, process: name_of(pid), access })
    }

    /// This process itself, for `cause`: a signal, for example.
    pub fn own(cause: &str) -> Peer {
        let uid = rustix::process::getuid().as_raw();
        Peer { uid, pid: std::process::id(), process: cause.to_owned(), access: Access::Full }
    }
}

/// The name of a process. It can choose any bytes, so control characters are replaced.
fn name_of(pid: u32) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(name.trim_ascii_end());
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_peer_is_the_process_at_the_other_end() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one, Access::Read).unwrap();
        let own = Peer::own("SIGHUP");
        assert_eq!((peer.uid, peer.pid), (own.uid, std::process::id()));
        assert!(!peer.process.is_empty() && peer.access == Access::Read);
        assert_eq!(own.process, "SIGHUP");
        assert_eq!(name_of(0), "");
    }
}
