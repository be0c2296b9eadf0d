//! The packets of a trial: 60 bytes of TCP over IPv4, with a mark in each.
//!
//! Packets differ in the source port, by flow, and in the mark: 14 bytes that the programs under test do not
//! use. The sequence and acknowledgement numbers are the time of sending; the 6 bytes of payload are the trial
//! and the number of the packet. The TCP checksum is wrong, because balancers do not verify it.

/// Length of a frame, without Ethernet's checksum.
pub(crate) const LENGTH: usize = 60;
const ETHERNET: usize = 14;
/// Length of the IP packet, which fills the frame.
const IP_LENGTH: usize = LENGTH - ETHERNET;
const TCP: usize = 20;
const PAYLOAD: usize = 40;
const FIRST_PORT: u16 = 1024;

/// The appliance's MAC address, as `benches/support.py` configures it, and its gateway's.
const TEMPLATE: [u8; LENGTH] = [
    0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0xfe, 0x08, 0x00, // Ethernet
    0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 6, 0x38, 0xac, 198, 18, 0, 1, 203, 0, 113, 10, // IPv4
    0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0, // TCP, ACK
    0, 0, 0, 0, 0, 0, // payload
];

/// The mark in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// Time of sending.
    pub(crate) time: u64,
    /// The trial's number.
    pub(crate) trial: u16,
    /// The packet's number in the trial.
    pub(crate) number: u32,
}

/// Writes a packet of a flow.
#[inline]
pub(crate) fn write(frame: &mut [u8; LENGTH], flow: u16, content: Content) {
    *frame = TEMPLATE;
    let tcp = ETHERNET + TCP;
    frame[tcp..tcp + 2].copy_from_slice(&(FIRST_PORT + flow).to_be_bytes());
    frame[tcp + 4..tcp + 12].copy_from_slice(&content.time.to_be_bytes());
    let payload = ETHERNET + PAYLOAD;
    frame[payload..payload + 2].copy_from_slice(&content.trial.to_be_bytes());
    frame[payload + 2..].copy_from_slice(&content.number.to_be_bytes());
}

/// Reads the mark of a frame that came back, whose IP packet begins at `inner`. `None` if it is another
/// packet.
#[inline]
pub(crate) fn read(frame: &[u8], inner: usize) -> Option<Content> {
    let ip: &[u8; IP_LENGTH] = frame.get(inner..)?.first_chunk()?;
    let same = |from: usize, to: usize| ip[from..to] == TEMPLATE[ETHERNET + from..ETHERNET + to];
    if !same(0, TCP) || !same(TCP + 2, TCP + 4) {
        return None;
    }
    Some(Content {
        time: u64::from_be_bytes(*ip[TCP + 4..].first_chunk()?),
        trial: u16::from_be_bytes(*ip[PAYLOAD..].first_chunk()?),
        number: u32::from_be_bytes(*ip[PAYLOAD + 2..].first_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use guideway_core::wire::Packet;

    use super::*;

    const CONTENT: Content = Content { time: 0x0102_0304_0506_0708, trial: 9, number: 0xfeed };

    #[test]
    fn a_packet_is_valid_and_tells_its_content() {
        let mut frame = [0; LENGTH];
        write(&mut frame, 3999, CONTENT);
        assert!(Packet::parse(&frame).is_ok());
        assert_eq!(frame[34..36], 5023_u16.to_be_bytes());
        assert_eq!(read(&frame, 14), Some(CONTENT));

        let encapsulated = [&[0; 38][..], &frame[14..]].concat();
        assert_eq!(read(&encapsulated, 38), Some(CONTENT));
        assert_eq!(read(&encapsulated, 14), None);
    }

    #[test]
    fn a_packet_changed_on_the_way_is_not_read() {
        let mut frame = [0; LENGTH];
        write(&mut frame, 0, CONTENT);
        for at in (14..34).chain(36..38) {
            let mut changed = frame;
            changed[at] ^= 1;
            assert_eq!(read(&changed, 14), None, "byte {at}");
        }
        assert_eq!(read(&frame[..59], 14), None);
    }
}
