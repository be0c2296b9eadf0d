//! Writes frames to a pcap file (draft-ietf-opsawg-pcap).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The magic number of a file whose time stamps have microseconds.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// The most bytes of a frame: tcpdump's own limit.
const SNAP_LENGTH: u32 = 262_144;

/// A file that is being written. Call [`Writer::finish`]: a drop loses errors.
pub struct Writer {
    file: BufWriter<File>,
}

impl Writer {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path) -> io::Result<Writer> {
        let mut file = BufWriter::new(File::create(path)?);
        // Version 2.4, two unused words.
        let words = [MICROSECONDS, u32::from_ne_bytes(version()), 0, 0, SNAP_LENGTH, ETHERNET];
        for word in words {
            file.write_all(&word.to_ne_bytes())?;
        }
        Ok(Writer { file })
    }

    /// Writes a frame with its time, in microseconds since 1970.
    ///
    /// # Errors
    /// Writing failed.
    pub fn write(&mut self, micros: u64, frame: &[u8]) -> io::Result<()> {
        #[expect(clippy::cast_possible_truncation, reason = "the format's seconds have 32 bits")]
        let seconds = (micros / 1_000_000) as u32;
        let within = (micros % 1_000_000) as u32;
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        for word in [seconds, within, length, length] {
            self.file.write_all(&word.to_ne_bytes())?;
        }
        self.file.write_all(frame)
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Two 16-bit numbers: 2 and 4.
fn version() -> [u8; 4] {
    let ([a, b], [c, d]) = (2_u16.to_ne_bytes(), 4_u16.to_ne_bytes());
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_header_and_a_record_for_each_frame() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Writer::create(file.path()).unwrap();
        writer.write(1_700_000_000_000_007, b"abc").unwrap();
        writer.write(5, b"").unwrap();
        writer.finish().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((bytes.len(), word(0), word(20)), (24 + 16 + 3 + 16, MICROSECONDS, 1));
        assert_eq!([word(24), word(28), word(32), word(36)], [1_700_000_000, 7, 3, 3]);
        assert_eq!(&bytes[40..43], b"abc");
        assert_eq!([word(43), word(47), word(51)], [0, 5, 0]);
    }
}
