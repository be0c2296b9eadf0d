//! Capture files, as far as a replay reads and writes them itself. DPDK's pcap driver reads and
//! writes the packets, but accepts any link type and stamps written packets with the time of day.
//!
//! Input formats are pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), the
//! output format is pcap.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use thiserror::Error;

/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// The magic number of a pcap file whose time stamps have nanoseconds.
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const PCAP_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// The most bytes of a captured frame: a longer record is damage.
const MAX_RECORD: u32 = 1 << 20;

/// Why a file cannot be replayed.
#[derive(Debug, Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is neither pcap nor pcapng.
    #[error("is not a capture: pcap and pcapng are known (tcpdump -w writes such)")]
    Format,
    /// It was not taken on an Ethernet.
    #[error("has link type {0}; only Ethernet (1) can be replayed")]
    LinkType(u32),
}

/// Checks that a file is a capture of Ethernet frames.
///
/// # Errors
/// What the file is instead.
pub fn check(path: &Path) -> Result<(), Error> {
    let mut file = BufReader::new(File::open(path)?);
    let mut magic = [0; 4];
    let link_type = match exact(&mut file, &mut magic)? {
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => pcap(&mut file, u32::from_be_bytes)?,
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => pcap(&mut file, u32::from_le_bytes)?,
        [0x0a, 0x0d, 0x0d, 0x0a] => pcapng(&mut file)?,
        _ => return Err(Error::Format),
    };
    if link_type == ETHERNET { Ok(()) } else { Err(Error::LinkType(link_type)) }
}

/// The link type of a pcap file, read from behind its magic number. The upper bits are about the
/// frame check sequence.
fn pcap(file: &mut impl Read, word: fn([u8; 4]) -> u32) -> Result<u32, Error> {
    let mut rest = [0; PCAP_HEADER - 4];
    exact(file, &mut rest)?;
    let [.., a, b, c, d] = rest;
    Ok(word([a, b, c, d]) & 0xffff)
}

/// The link type of a pcapng file's first interface, read from behind the type of its section
/// header.
fn pcapng(file: &mut impl Read) -> Result<u32, Error> {
    let mut head = [0; 8];
    exact(file, &mut head)?;
    let [l0, l1, l2, l3, magic @ ..] = head;
    let word: fn([u8; 4]) -> u32 = match magic {
        [0x1a, 0x2b, 0x3c, 0x4d] => u32::from_be_bytes,
        [0x4d, 0x3c, 0x2b, 0x1a] => u32::from_le_bytes,
        _ => return Err(Error::Format),
    };
    let rest = u64::from(word([l0, l1, l2, l3])).checked_sub(12).ok_or(Error::Format)?;
    io::copy(&mut file.take(rest), &mut io::sink())?;
    let mut interface = [0; 10];
    exact(file, &mut interface)?;
    let [t0, t1, t2, t3, _, _, _, _, link @ ..] = interface;
    if word([t0, t1, t2, t3]) != 1 {
        return Err(Error::Format);
    }
    // A 16-bit field with padding, whose side depends on the byte order.
    let big = word([0, 0, 0, 1]) == 1;
    Ok(if big { word([0, 0, link[0], link[1]]) } else { word([link[0], link[1], 0, 0]) })
}

fn exact<'a, const N: usize>(
    file: &mut impl Read,
    bytes: &'a mut [u8; N],
) -> Result<&'a [u8; N], Error> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Error::Format),
        Err(error) => Err(error.into()),
    }
}

/// Counts the frames of a capture that a snap length truncated. The count ends where the file is
/// damaged.
///
/// # Errors
/// Reading failed.
pub fn count_truncated(path: &Path) -> Result<u64, Error> {
    let mut truncated = 0;
    match walk(path, &mut truncated) {
        Ok(()) | Err(Error::Format) => Ok(truncated),
        Err(error) => Err(error),
    }
}

/// Adds truncated frames to `truncated` up to the end of the file, or to the first damage, which is
/// [`Error::Format`].
fn walk(path: &Path, truncated: &mut u64) -> Result<(), Error> {
    let mut file = BufReader::new(File::open(path)?);
    let mut head = [0; 8];
    exact(&mut file, &mut head)?;
    let mut word: fn([u8; 4]) -> u32 = match head[..4] {
        [0xd4 | 0x4d, ..] => u32::from_le_bytes,
        _ => u32::from_be_bytes,
    };
    let field = |word: fn([u8; 4]) -> u32, bytes: &[u8]| match *bytes {
        [a, b, c, d, ..] => word([a, b, c, d]),
        _ => 0,
    };
    if head[0] != 0x0a {
        skip(&mut file, PCAP_HEADER as u64 - 8)?;
        loop {
            let mut record = [0; RECORD_HEADER];
            exact(&mut file, &mut record)?;
            let (captured, original) = (field(word, &record[8..]), field(word, &record[12..]));
            skip(&mut file, captured.into())?;
            *truncated += u64::from(captured < original);
        }
    }
    loop {
        let mut body = [0; 20];
        let kind = field(word, &head);
        // A section header has the same type in both byte orders, and shows which one follows.
        let mut read = 0;
        if kind == 0x0a0d_0d0a {
            exact(&mut file, first::<4>(&mut body)?)?;
            word = if body[0] == 0x4d { u32::from_le_bytes } else { u32::from_be_bytes };
            read = 4;
        } else if kind == 2 || kind == 6 {
            exact(&mut file, &mut body)?;
            read = 20;
        } else if kind == 3 {
            exact(&mut file, first::<4>(&mut body)?)?;
            read = 4;
        }
        let length = field(word, &head[4..]);
        // Blocks contain their length twice and are padded.
        skip(&mut file, u64::from(length).checked_sub(8 + read).ok_or(Error::Format)?)?;
        let is_truncated = match kind {
            2 | 6 => field(word, &body[12..]) < field(word, &body[16..]),
            3 => length.saturating_sub(16) < field(word, &body),
            _ => false,
        };
        *truncated += u64::from(is_truncated);
        exact(&mut file, &mut head)?;
    }
}

fn first<const N: usize>(bytes: &mut [u8]) -> Result<&mut [u8; N], Error> {
    bytes.first_chunk_mut().ok_or(Error::Format)
}

fn skip(file: &mut impl Read, bytes: u64) -> Result<(), Error> {
    let skipped = io::copy(&mut file.take(bytes), &mut io::sink())?;
    if skipped == bytes { Ok(()) } else { Err(Error::Format) }
}

/// Counts the whole frames of a capture that DPDK wrote. Its driver does not notice a full disk,
/// which truncates the file anywhere.
///
/// # Errors
/// Reading failed.
pub fn count(path: &Path) -> Result<u64, Error> {
    let mut file = BufReader::new(File::open(path)?);
    if io::copy(&mut file.by_ref().take(PCAP_HEADER as u64), &mut io::sink())? < PCAP_HEADER as u64
    {
        return Ok(0);
    }
    let mut frames = 0;
    loop {
        let mut record = [0; RECORD_HEADER];
        match exact(&mut file, &mut record) {
            Ok(_) => {}
            Err(Error::Format) => return Ok(frames),
            Err(error) => return Err(error),
        }
        let [_, _, _, _, _, _, _, _, l0, l1, l2, l3, ..] = record;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]);
        if length > MAX_RECORD {
            return Ok(frames);
        }
        if io::copy(&mut file.by_ref().take(length.into()), &mut io::sink())? < length.into() {
            return Ok(frames);
        }
        frames += 1;
    }
}

/// Copies a capture that DPDK wrote, and replaces its time stamps by `times`, in microseconds.
///
/// # Errors
/// Reading or writing failed, or the numbers of frames and of time stamps differ.
pub fn copy_with_times(from: &Path, to: &Path, times: &[u64]) -> Result<(), Error> {
    let mut from = BufReader::new(File::open(from)?);
    let mut to = BufWriter::new(File::create(to)?);
    let mut header = [0; PCAP_HEADER];
    from.read_exact(&mut header)?;
    // DPDK writes in the byte order of the machine, with nanoseconds.
    if header[..4] != NANOSECONDS.to_ne_bytes() {
        return Err(Error::Format);
    }
    to.write_all(&header)?;
    for &micros in times {
        let mut record = [0; RECORD_HEADER];
        from.read_exact(&mut record)?;
        let [_, _, _, _, _, _, _, _, l0, l1, l2, l3, ..] = record;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]);
        if length > MAX_RECORD {
            return Err(Error::Format);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the format's seconds have 32 bits")]
        let seconds = (micros / 1_000_000) as u32;
        #[expect(clippy::cast_possible_truncation, reason = "less than a second in nanoseconds")]
        let within = (micros % 1_000_000 * 1000) as u32;
        record[..4].copy_from_slice(&seconds.to_ne_bytes());
        record[4..8].copy_from_slice(&within.to_ne_bytes());
        to.write_all(&record)?;
        let copied = io::copy(&mut from.by_ref().take(length.into()), &mut to)?;
        if copied < length.into() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    if from.read(&mut [0])? != 0 {
        return Err(io::Error::other("more frames were written than were counted").into());
    }
    to.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn header(link_type: u8) -> Vec<u8> {
        let mut bytes = vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0];
        bytes.extend([0; 8]);
        bytes.extend([0, 0, 4, 0, link_type, 0, 0, 0]);
        bytes
    }

    #[test]
    fn only_ethernet_captures_pass() {
        check(file(&header(1)).path()).unwrap();
        assert!(matches!(check(file(&header(113)).path()), Err(Error::LinkType(113))));
        assert!(matches!(check(file(&header(1)[..20]).path()), Err(Error::Format)));
        assert!(matches!(check(file(b"").path()), Err(Error::Format)));
        assert!(matches!(check(file(b"GIF89a..").path()), Err(Error::Format)));
        assert!(matches!(check(Path::new("/nonexistent")), Err(Error::Io(_))));
    }

    #[test]
    fn the_link_type_of_pcapng_is_that_of_the_first_interface() {
        for big in [false, true] {
            let w = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
            let h = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
            let mut bytes = w(0x0a0d_0d0a).to_vec();
            bytes.extend(w(28));
            bytes.extend(w(0x1a2b_3c4d));
            bytes.extend([0; 12]);
            bytes.extend(w(28));
            bytes.extend(w(1));
            bytes.extend(w(20));
            let section = bytes.len();
            bytes.extend(h(1));
            check(file(&bytes).path()).unwrap();
            bytes[section..].copy_from_slice(&h(276));
            assert!(matches!(check(file(&bytes).path()), Err(Error::LinkType(276))));
        }
    }

    #[test]
    fn only_whole_frames_count() {
        let mut bytes = header(1);
        bytes.extend([9; 8]);
        bytes.extend([3, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3]);
        let whole = bytes.len();
        bytes.extend_from_within(24..);
        for length in 0..=bytes.len() {
            let frames = if length == bytes.len() { 2 } else { u64::from(length >= whole) };
            assert_eq!(count(file(&bytes[..length]).path()).unwrap(), frames, "{length}");
        }
    }

    #[test]
    fn a_copy_has_the_given_times() {
        let mut bytes = header(1);
        for frame in [&b"one"[..], b"three"] {
            let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
            bytes.extend([9; 8]);
            bytes.extend(length);
            bytes.extend(length);
            bytes.extend(frame);
        }
        let from = file(&bytes);
        let to = tempfile::NamedTempFile::new().unwrap();
        copy_with_times(from.path(), to.path(), &[1_000_007, 0]).unwrap();
        let copy = std::fs::read(to.path()).unwrap();
        assert_eq!(copy.len(), bytes.len());
        assert_eq!(copy[24..32], [1, 0, 0, 0, 0x58, 0x1b, 0, 0]);
        assert_eq!(copy[24 + 19..24 + 27], [0; 8]);
        assert_eq!(copy[40..43], *b"one");
        assert!(copy_with_times(from.path(), to.path(), &[1]).is_err());
        assert!(copy_with_times(from.path(), to.path(), &[1, 2, 3]).is_err());
    }
}
