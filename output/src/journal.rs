//! Entries of systemd's journal: its native protocol, a datagram for each entry.
//!
//! A [`Queue`](crate::Queue) holds the entries in one buffer, so each has its length in front there. An entry has at
//! most 64 KiB, which fits a datagram: longer values are cut.

use std::io::{self, ErrorKind, Write};
use std::iter;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// Bytes of an entry at the most. A datagram may have about 200 kB.
const LIMIT: usize = 64 << 10;
/// Bytes of a value at the most.
const VALUE_LIMIT: usize = 16 << 10;
/// Bytes of the length in front of an entry.
const LENGTH: usize = size_of::<u32>();

/// An entry of these fields. A field whose name is not one of the journal's is left out: `A` to `Z`, digits and
/// underscores, and neither of the latter at the start.
pub fn entry<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut entry = vec![0; LENGTH];
    for (name, value) in fields {
        let is_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        let begins = name.bytes().next().is_some_and(|b| b.is_ascii_uppercase());
        let value = &value[..value.floor_char_boundary(VALUE_LIMIT)];
        let size = name.len() + value.len() + 16;
        if !begins || !name.bytes().all(is_name) || entry.len() + size > LIMIT {
            continue;
        }
        entry.extend(name.bytes());
        if value.contains('\n') {
            // A value of several lines comes with its length.
            entry.push(b'\n');
            entry.extend((value.len() as u64).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend(value.bytes());
        entry.push(b'\n');
    }
    let length = u32::try_from(entry.len() - LENGTH).unwrap_or(0);
    entry[..LENGTH].copy_from_slice(&length.to_ne_bytes());
    entry
}

/// The entries of a queue's bytes, each with its length in front.
pub(crate) fn split(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let entry;
        (entry, bytes) = bytes.split_at_checked(LENGTH + length)?;
        Some(entry)
    })
}

/// Whether nobody listens where the journal did, so that no other entry would be accepted either.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::NotConnected
            | ErrorKind::ConnectionReset
            | ErrorKind::NotFound
    )
}

/// The journal. Each write sends the first entry of the bytes.
pub(crate) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Connects to the journal.
    pub(crate) fn open(path: &Path) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        Ok(Journal { socket, path: path.to_owned() })
    }
}

impl Write for Journal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let entry = split(bytes).next().ok_or(ErrorKind::InvalidInput)?;
        let fields = &entry[LENGTH..];
        match self.socket.send(fields) {
            // The journal was started anew.
            Err(error) if is_gone(&error) => {
                self.socket.connect(&self.path)?;
                self.socket.send(fields)?;
            }
            sent => _ = sent?,
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Journal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_a_line_for_each_field() {
        let entry = entry([
            ("MESSAGE", "port \"edge0\": link down"),
            ("GUIDEWAY_TEXT", "a\nb"),
            ("_PID", "1"),
            ("lower", "x"),
            ("PRIORITY", "4"),
        ]);
        let expected = b"MESSAGE=port \"edge0\": link down\n\
                         GUIDEWAY_TEXT\n\x03\0\0\0\0\0\0\0a\nb\nPRIORITY=4\n";
        assert_eq!(entry[LENGTH..].escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(entry[..LENGTH], u32::try_from(expected.len()).unwrap().to_ne_bytes());
    }

    #[test]
    fn an_entry_is_bounded() {
        let long = "é".repeat(VALUE_LIMIT);
        let entry = entry([("A", &*long), ("B", &long), ("C", &long), ("D", &long), ("E", "e")]);
        assert!(entry.len() <= LIMIT && entry.ends_with(b"\nE=e\n"), "{}", entry.len());
        assert!(std::str::from_utf8(&entry[LENGTH..]).is_ok());
    }
}
