//! Tells the service manager how the daemon is: the protocol of `sd_notify(3)`.
//!
//! A message is one datagram of lines `NAME=VALUE` to the socket that `NOTIFY_SOCKET` names, by a path or, behind an
//! `@`, by an abstract name. Nobody answers. A message that cannot be sent is lost: a daemon never waits for its service
//! manager, and the watchdog ends one that the service manager does not hear.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with,
};

/// Where the service manager listens; nowhere without one.
#[derive(Debug, Default)]
pub struct Notify {
    to: Option<(OwnedFd, SocketAddrUnix)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment of the process says. An address that cannot be one is logged, and nothing is ever sent.
    pub fn from_environment() -> Notify {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let Some(socket) = variable("NOTIFY_SOCKET") else { return Notify::default() };
        let watchdog = watchdog(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        match Notify::to(&socket) {
            Ok(notify) => Notify { watchdog, ..notify },
            Err(error) => {
                tracing::warn!("cannot tell the service manager anything, {socket:?}: {error}");
                Notify::default()
            }
        }
    }

    /// To this socket, without a watchdog.
    ///
    /// # Errors
    /// If it cannot be the address of a socket, or the operating system refuses a descriptor.
    pub fn to(socket: &OsStr) -> Result<Notify, Errno> {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            [b'/', ..] => SocketAddrUnix::new(socket)?,
            _ => return Err(Errno::AFNOSUPPORT),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let descriptor = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        Ok(Notify { to: Some((descriptor, address)), watchdog: None })
    }

    /// How often the daemon has to call [`Notify::alive`] at the least; none without a watchdog.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The daemon serves.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// The daemon has ended its start, or something else has changed that an operator wants to read.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", line(status)));
    }

    /// The daemon lives.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// The daemon stops.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, message: &str) {
        let Some((descriptor, address)) = &self.to else { return };
        // NOSIGNAL: a datagram raises no SIGPIPE today, and the man page does not promise it.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if let Err(error) = sendto(descriptor, message.as_bytes(), flags, address) {
            tracing::debug!("the service manager does not get {message:?}: {error}");
        }
    }
}

/// The time from one sign of life to the next that the service manager tolerates, if it means this process.
fn watchdog(microseconds: Option<&OsStr>, of: Option<&OsStr>, own: u32) -> Option<Duration> {
    let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
    let is_meant = of.is_none_or(|of| number(of) == Some(own.into()));
    let time = Duration::from_micros(number(microseconds?)?);
    (is_meant && !time.is_zero()).then_some(time)
}

/// A newline would begin another variable.
fn line(text: &str) -> String {
    text.replace(|letter: char| letter.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    fn next(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_socket_of_either_kind_gets_each_message() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("guideway-notify-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, address) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into()),
        ] {
            let notify = Notify::to(&address).unwrap();
            assert_eq!(notify.watchdog(), None);
            notify.ready("serves\nMAINPID=1");
            assert_eq!(next(&socket), "READY=1\nSTATUS=serves MAINPID=1");
            notify.status("3 addresses");
            assert_eq!(next(&socket), "STATUS=3 addresses");
            notify.alive();
            assert_eq!(next(&socket), "WATCHDOG=1");
            notify.stopping();
            assert_eq!(next(&socket), "STOPPING=1");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for socket in ["", "relative", "vsock:2:1234"] {
            assert!(Notify::to(OsStr::new(socket)).is_err(), "{socket}");
        }
        let long = format!("/{}", "a".repeat(200));
        assert!(Notify::to(OsStr::new(&long)).is_err());
    }

    #[test]
    fn nobody_is_waited_for() {
        Notify::default().ready("nobody listens");
        Notify::to(OsStr::new("/nowhere/at/all")).unwrap().alive();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _full = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(path.as_os_str()).unwrap();
        // More than the receiver's queue takes: the rest is lost.
        (0..10_000).for_each(|_| notify.alive());
    }

    #[test]
    fn the_watchdog_is_of_the_process_that_is_meant() {
        let of = |time: &str, pid: Option<&str>| {
            watchdog(Some(OsStr::new(time)), pid.map(OsStr::new), 7)
        };
        let ten = Some(Duration::from_secs(10));
        assert_eq!(of("10000000", None), ten);
        assert_eq!(of("10000000", Some("7")), ten);
        for (time, pid) in [
            ("10000000", Some("8")),
            ("10000000", Some("x")),
            ("0", None),
            ("-1", None),
            ("x", None),
        ] {
            assert_eq!(of(time, pid), None, "{time} {pid:?}");
        }
        assert_eq!(watchdog(None, None, 7), None);
    }
}
