//! The socket's file: its owner, its mode and its lock.
//!
//! The mode is 0660. A client that may connect may do all that the socket is for, so the group is the access list. The
//! file `<socket>.lock` beside the socket is locked while a daemon serves the socket. The lock file is
//! never removed: otherwise two daemons could each lock a file of their own.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 64;

/// Why the control socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon serves this path.
    #[error("{path}: another daemon serves this socket; stop it or choose another path")]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// Another kind of file has this path, and removing it could lose data.
    #[error("{path} is there already and is no socket; remove it or choose another path")]
    NotASocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// The kernel's `sockaddr_un` has 108 bytes.
    #[error("{path}: the path of a unix socket has at most 107 bytes; choose a shorter one")]
    TooLong {
        /// The socket's path.
        path: PathBuf,
    },
    /// The system does not have the group of the configuration.
    #[error(
        "there is no group {group:?} on this machine, as {key} names it; make it \
         (`groupadd --system NAME`) or name another"
    )]
    NoGroup {
        /// The key of the configuration.
        key: &'static str,
        /// Its name.
        group: String,
    },
    /// The operating system refused to change the socket's group.
    #[error(
        "cannot give {path} to the group {group:?}; it takes CAP_CHOWN, or a process that is of \
         this group"
    )]
    Group {
        /// The socket's path.
        path: PathBuf,
        /// The group's name.
        group: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}{}", advice(source))]
    System {
        /// The action that failed.
        action: &'static str,
        /// The file of the action.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

/// The listening socket. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, to recognise it.
    identity: (u64, u64),
    /// Dropped last: another daemon may bind once the socket's file is gone.
    _lock: File,
}

impl Socket {
    /// Binds `path`, creates its directory if it is missing, and replaces a socket that no daemon serves. Members of a
    /// group, which comes with the key that names it, may connect; without one, those of the group of the process.
    pub(crate) fn bind(path: &Path, group: Option<(&'static str, &str)>) -> Result<Socket, Error> {
        // Absolute, so that the file is found if the working directory changes.
        let path = &std::path::absolute(path).map_err(system("resolve", path))?;
        let address = SocketAddrUnix::new(path).map_err(|errno| match errno {
            Errno::NAMETOOLONG => Error::TooLong { path: path.clone() },
            other => system("use", path)(other.into()),
        })?;
        let owner = group.map(|(key, group)| Ok((group, group_id(key, group)?))).transpose()?;
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            // Set the mode again, because the umask restricts the first one.
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(directory)
                .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o755)))
                .map_err(system("make the directory", directory))?;
        }
        let lock = lock(path)?;
        remove_stale(path, &address)?;

        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|errno| system("make a socket for", path)(errno.into()))?;
        rustix::net::bind(&socket, &address).map_err(|errno| system("bind", path)(errno.into()))?;
        let metadata = fs::symlink_metadata(path).map_err(system("look at", path))?;
        let socket = Socket {
            listener: UnixListener::from(socket),
            path: path.clone(),
            identity: (metadata.dev(), metadata.ino()),
            _lock: lock,
        };
        // Between bind and listen the kernel refuses every connection, so group and mode are set before
        // any client can connect.
        if let Some((group, id)) = owner {
            lchown(path, None, Some(id)).map_err(|source| Error::Group {
                path: path.clone(),
                group: group.to_owned(),
                source,
            })?;
        }
        fs::set_permissions(path, Permissions::from_mode(0o660))
            .map_err(system("set the mode of", path))?;
        rustix::net::listen(&socket.listener, BACKLOG)
            .map_err(|errno| system("listen on", path)(errno.into()))?;
        Ok(socket)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a socket");
        }
    }
}

/// The number of a group of users.
fn group_id(key: &'static str, name: &str) -> Result<u32, Error> {
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(Error::NoGroup { key, group: name.to_owned() }),
        Err(errno) => Err(system("look up the group", Path::new(name))(errno.into())),
    }
}

/// Locks the file beside the socket. Without the lock, two daemons that start at once could both find the
/// socket stale, and one could remove the socket that the other has just bound.
fn lock(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(system("open", &name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(system("lock", &name)(error)),
    }
}

/// Removes the socket that a killed daemon left.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("look at", path)(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(Error::NotASocket { path: path.into() });
        }
        Ok(_) => {}
    }
    // Nonblocking: a daemon that no longer accepts must not delay this one.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|errno| system("make a socket for", path)(errno.into()))?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => {}
        Err(Errno::NOENT) => return Ok(()),
        Ok(()) | Err(Errno::AGAIN) => return Err(Error::InUse { path: path.into() }),
        Err(errno) => return Err(system("connect to", path)(errno.into())),
    }
    tracing::info!(path = %path.display(), "replacing a socket that no daemon serves");
    fs::remove_file(path).map_err(system("remove", path))
}

/// Advice for errors of the operating system whose text gives none.
fn advice(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => {
            " (this process may open too few files: raise `ulimit -n`, or `LimitNOFILE=` of a unit)"
        }
        Some(Errno::NFILE) => " (the system has too few files: raise the sysctl fs.file-max)",
        _ => "",
    }
}

/// For `map_err`: adds the action and the path.
pub(super) fn system(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::System { action, path: path.into(), source }
}
