//! `[control]`: the control socket.

use std::path::PathBuf;

use crate::declare::section;
use crate::kind::Text;
use crate::section::Section;
use crate::shape::Form;
use crate::text::within;

/// Bytes of `sockaddr_un.sun_path` without the final zero.
const MAX_SOCKET_PATH: usize = 107;

const SOCKET: Text<PathBuf> = Text {
    form: &Form { noun: "path", limits: "1 to 107 bytes", pattern: "^.{1,107}$" },
    parse: socket,
};

/// An absolute path.
pub(super) const PATH: Text<PathBuf> =
    Text { form: &Form { noun: "path", limits: "absolute", pattern: "^/.*$" }, parse: path };

const GROUP: Text<String> = Text {
    form: &Form {
        noun: "string",
        limits: "1 to 255 bytes without colons and control characters",
        pattern: "^[^:]{1,255}$",
    },
    parse: group,
};

section! {
    /// The control socket.
    "[control]" 0..=1 => Control, ControlDraft {
        /// Where `guidewayctl` finds the daemon. A relative path is a warning.
        socket: PathBuf = SOCKET, default "\"/run/guideway/guideway.sock\"", restart;
        /// The name of a group of this machine. Its members may use the socket, and so [do
        /// everything](operations.md#the-socket). If there is no such group, Guideway does not start.
        group: String = GROUP, optional "\"guideway\"" else "the group of the process", restart;
        /// A second socket, at which clients can only read: requests that change something are refused. There is none
        /// without this key.
        read_socket: PathBuf = SOCKET, optional "\"/run/guideway/read.sock\"" else "none", restart;
        /// The name of a group of this machine whose members may use `read_socket`. If there is no such group,
        /// Guideway does not start.
        read_group: String = GROUP, optional "\"adm\"" else "the group of the process", restart;
        /// The directory in which Guideway keeps the states and weights that are set at run time, for its
        /// next start, in the file `backends.json`.
        ///
        /// Guideway makes the directory if it can. Without the file, or with one that cannot be read, it
        /// starts with what the configuration says. Two processes need two directories.
        state_directory: PathBuf = PATH, default "\"/var/lib/guideway\"", restart;
    }
}

pub(crate) fn read(root: &Section<'_>) -> ControlDraft {
    let section = root.table("control", false);
    let draft = ControlDraft::read(&section);
    let sockets = [
        ("socket", draft.socket.as_ref().ok()),
        ("read_socket", draft.read_socket.as_ref().ok().and_then(Option::as_ref)),
    ];
    for (key, path) in sockets {
        if path.is_some_and(|path| path.is_relative()) {
            let message = "is relative to the directory in which guideway is started; an absolute \
                           path is found by guidewayctl from anywhere";
            section.warn(key, message);
        }
    }
    if let [(_, Some(one)), (_, Some(other))] = sockets
        && one == other
    {
        section.mistake("read_socket", "is control.socket too; each needs a path of its own");
    }
    draft
}

pub(super) fn socket(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("expected a path like /run/guideway/guideway.sock".to_owned());
    }
    if text.len() > MAX_SOCKET_PATH {
        let length = text.len();
        return Err(format!(
            "it has {length} bytes, and the path of a unix socket {MAX_SOCKET_PATH} at most"
        ));
    }
    Ok(PathBuf::from(text))
}

fn path(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') || text.chars().any(char::is_control) {
        return Err("expected an absolute path like /var/lib/guideway".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// The name of a group of users. A directory service may have names with spaces.
fn group(text: &str) -> Result<String, String> {
    let expected = "the name of a group, 1 to 255 bytes without colons and control characters";
    within(text, 1..=255, |c| !c.is_control() && c != ':', expected)
}
