//! `[control]`: the control socket.

use std::path::PathBuf;

use super::findings::Checked;
use super::model::Control;
use super::section::Section;
use super::value;

const DEFAULT_SOCKET: &str = "/run/guideway/guideway.sock";

/// What `sockaddr_un.sun_path` holds besides its final zero.
const MAX_SOCKET_PATH: usize = 107;

pub(super) fn read(mut section: Section<'_>) -> Checked<Control> {
    let socket = section.or("socket", PathBuf::from(DEFAULT_SOCKET), value::text(socket));
    if let Ok(socket) = &socket
        && socket.value.is_relative()
    {
        let message = "is relative to the directory in which guideway is started; an absolute \
                       path is found by guidewayctl from anywhere";
        section.warn(socket.at, "socket", message);
    }
    let group = section.optional("group", value::text(group));
    section.finish();
    Ok(Control { socket: socket?.value, group: group?.map(|group| group.value) })
}

fn socket(said: &str) -> Result<PathBuf, String> {
    if said.is_empty() || said.chars().any(char::is_control) {
        return Err(format!("expected a path like {DEFAULT_SOCKET}"));
    }
    if said.len() > MAX_SOCKET_PATH {
        let length = said.len();
        return Err(format!(
            "it has {length} bytes, and the path of a unix socket {MAX_SOCKET_PATH} at most"
        ));
    }
    Ok(PathBuf::from(said))
}

/// The name of a group of this machine. A directory service may have names with spaces.
fn group(said: &str) -> Result<String, String> {
    let forbidden = |c: char| c.is_control() || c == ':';
    if (1..=255).contains(&said.len()) && !said.chars().any(forbidden) {
        Ok(said.to_owned())
    } else {
        Err("expected the name of a group, 1 to 255 bytes without colons and control characters"
            .to_owned())
    }
}
