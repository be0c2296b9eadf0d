//! The files of the sessions' passwords.
//!
//! The password is the first line, without its end. Files are read again when a plan is wanted and when one of them has
//! changed, so that a new password takes no other order.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use guideway_config::Bgp;
use rustix::fs::OFlags;

use super::configuration::Passwords;

/// Bytes that are read of a file. A password has 80 at the most.
const LARGEST: u64 = 4096;

/// What tells one state of a file from another: inode, size, and time of the last change; none if it cannot be seen.
type Mark = Option<(u64, u64, i64, i64)>;

/// What the files looked like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(BTreeMap<PathBuf, Mark>);

/// The files as they look now.
pub(super) fn marks(bgp: &Bgp) -> Marks {
    let files = bgp.peers.iter().filter_map(|peer| peer.password_file.as_ref());
    Marks(files.map(|file| (file.clone(), mark(file))).collect())
}

fn mark(file: &Path) -> Mark {
    let seen = fs::metadata(file).ok()?;
    Some((seen.ino(), seen.size(), seen.ctime(), seen.ctime_nsec()))
}

/// Reads the passwords of all peers that have one.
///
/// # Errors
/// The first file that cannot be read, and why.
pub(super) fn read(bgp: &Bgp) -> Result<Passwords, String> {
    let mut passwords = Passwords::new();
    for peer in &bgp.peers {
        let Some(file) = &peer.password_file else { continue };
        let wrong = |why: &dyn std::fmt::Display| {
            format!("the password of peer {} in {}: {why}", peer.name, file.display())
        };
        let text = first_line(file).map_err(|error| wrong(&error))?;
        let text = String::from_utf8(text).map_err(|_| wrong(&"it is no UTF-8"))?;
        passwords.insert(peer.name.clone(), text);
    }
    Ok(passwords)
}

fn first_line(file: &Path) -> std::io::Result<Vec<u8>> {
    // A FIFO without a writer must not hold the thread up.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut content = Vec::new();
    let file = File::options().read(true).custom_flags(flags).open(file)?;
    file.take(LARGEST).read_to_end(&mut content)?;
    let end = content.iter().position(|&byte| byte == b'\n').unwrap_or(content.len());
    content.truncate(end);
    if content.last() == Some(&b'\r') {
        content.pop();
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use guideway_config::BgpPeer;

    use super::*;
    use crate::bird::configuration::tests::peer;

    fn bgp(file: &Path) -> Bgp {
        let peer = BgpPeer { password_file: Some(file.to_owned()), ..peer("tor1") };
        Bgp { peers: vec![peer], ..Bgp::default() }
    }

    #[test]
    fn the_password_is_the_first_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        for (content, password) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\nmore", "secret"),
            (" s \n\n", " s "),
            ("", ""),
            ("\nsecret", ""),
        ] {
            fs::write(&file, content).unwrap();
            assert_eq!(read(&bgp(&file)).unwrap()["tor1"], password, "{content:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        let error = read(&bgp(&file)).unwrap_err();
        assert!(error.contains("tor1") && error.contains(file.to_str().unwrap()), "{error}");
        assert!(error.contains("No such file"), "{error}");
        let error = read(&bgp(directory.path())).unwrap_err();
        assert!(error.contains("directory"), "{error}");
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(read(&bgp(&file)).unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn another_content_leaves_another_mark() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        let bgp = bgp(&file);
        let missing = marks(&bgp);
        fs::write(&file, "one").unwrap();
        let one = marks(&bgp);
        assert_ne!(missing, one);
        assert_eq!(one, marks(&bgp));
        // Of equal size, and put in the place of the old one.
        let other = directory.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_ne!(one, marks(&bgp));
    }
}
