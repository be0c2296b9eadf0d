//! `[control]`: the control socket.

use std::path::PathBuf;

use super::findings::Checked;
use super::model::Control;
use super::section::Section;
use super::value;

const DEFAULT_SOCKET: &str = "/run/guideway/guideway.sock";

/// Bytes of `sockaddr_un.sun_path` without the final zero.
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

fn socket(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(format!("expected a path like {DEFAULT_SOCKET}"));
    }
    if text.len() > MAX_SOCKET_PATH {
        let length = text.len();
        return Err(format!(
            "it has {length} bytes, and the path of a unix socket {MAX_SOCKET_PATH} at most"
        ));
    }
    Ok(PathBuf::from(text))
}

/// The name of a group of users. A directory service may have names with spaces.
fn group(text: &str) -> Result<String, String> {
    let forbidden = |c: char| c.is_control() || c == ':';
    if (1..=255).contains(&text.len()) && !text.chars().any(forbidden) {
        Ok(text.to_owned())
    } else {
        Err("expected the name of a group, 1 to 255 bytes without colons and control characters"
            .to_owned())
    }
}
