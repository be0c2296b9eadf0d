//! Packets as a device would deliver them: for every burst the headers of the mbufs are written again, each
//! with the next flow's addresses and ports, and with a correct checksum.
//!
//! A flow's number is in its address and port. The SYNs of a mixed burst, and the flows that only fill a table, have
//! ports of their own, so that they are no flows of the other packets.

#![expect(
    clippy::cast_possible_truncation,
    reason = "a flow's number is spread over address and port"
)]

use std::net::IpAddr;

use guideway::dpdk::{BURST, Burst};

use crate::traffic::{self, Ip, Kind, Mix};

/// Step from one flow's number to the next, so that consecutive flows share no cache lines. A prime: it has
/// no factor in common with a smaller number of flows.
const STRIDE: u64 = 4_256_233;

/// The lowest client ports: of the packets' flows, of the SYNs of a mixed burst, and of flows beside these.
const PORTS: [u16; 3] = [1024, 20_000, 40_000];
/// How many ports each of these has, a power of two.
const PORT_COUNT: u16 = 1 << 14;
/// Flows that the SYNs of a mixed burst begin, one after another.
const NEW_FLOWS: u64 = 10 << 20;

/// Writes the headers of one flow after another, over and over.
pub struct Source {
    ip: Ip,
    /// Virtual addresses as in a packet, and over IPv4 their part of the checksum.
    services: Vec<([u8; 16], u32)>,
    stream: Stream,
    other: Option<Other>,
}

/// Packets that are equal but for the flow.
struct Stream {
    frame: Vec<u8>,
    /// Where the IP header begins.
    l3: usize,
    /// The checksum's sum, without addresses.
    sum: u32,
    flows: u64,
    next: u64,
    /// The lowest client port.
    ports: u16,
}

/// The packets of a mixed burst that are not as most: one of so many.
struct Other {
    stream: Stream,
    every: usize,
    passed: usize,
}

impl Source {
    /// Packets of this kind and of so many flows.
    pub fn new(kind: Kind, flows: u64) -> Source {
        let other = match kind.mix {
            Mix::Equal => None,
            Mix::Syns(every) => Some((every, NEW_FLOWS, PORTS[1])),
            Mix::Tagged(every) => Some((every, flows, PORTS[0])),
        };
        let other = other.map(|(every, flows, ports)| {
            let stream = Stream::new(kind.of_packet(every - 1), flows, ports);
            // Half a round ahead, so that no two packets in a row are of the same flow.
            Other { stream: Stream { next: flows / 2, ..stream }, every, passed: 0 }
        });
        let stream = Stream::new(kind.of_packet(0), flows, PORTS[0]);
        Source { ip: kind.inner, services: services(kind), stream, other }
    }

    /// As [`Source::new`], with client ports of which [`Source::new`] has none: none of the flows is equal.
    pub fn others(kind: Kind, flows: u64) -> Source {
        let mut source = Source::new(kind, flows);
        source.stream.ports = PORTS[2];
        source
    }

    /// Fills every mbuf of a full burst with the packets of the next flows.
    pub fn fill(&mut self, burst: &mut Burst) {
        for i in 0..BURST {
            let is_other = self.other.as_mut().is_some_and(Other::is_next);
            let stream = match &mut self.other {
                Some(other) if is_other => &mut other.stream,
                _ => &mut self.stream,
            };
            let flow = stream.next_flow();
            if let Some(bytes) = burst.get_mut(i).and_then(|mbuf| mbuf.refill(stream.frame.len())) {
                // A multiplication instead of a division.
                let n = (flow & 0xffff).wrapping_mul(self.services.len() as u64) >> 16;
                let service = &self.services[n as usize % self.services.len()];
                match self.ip {
                    Ip::V4 => stream.write_v4(bytes, flow, service),
                    Ip::V6 => stream.write_v6(bytes, flow, service),
                }
            }
        }
    }
}

impl Other {
    /// Whether the next packet is one of these.
    fn is_next(&mut self) -> bool {
        self.passed += 1;
        if self.passed < self.every {
            return false;
        }
        self.passed = 0;
        true
    }
}

impl Stream {
    /// Packets of this kind, of so many flows, from these client ports on.
    fn new(kind: Kind, flows: u64, ports: u16) -> Stream {
        let frame = traffic::frame(kind, 0);
        let l3 = 14 + 4 * usize::from(kind.tags);
        let sum = sum_of(&frame[l3..l3 + 10]);
        Stream { frame, l3, sum, flows, next: 0, ports }
    }

    #[inline(always)]
    fn next_flow(&mut self) -> u64 {
        let flow = self.next;
        self.next += STRIDE % self.flows;
        if self.next >= self.flows {
            self.next -= self.flows;
        }
        flow
    }

    /// The client port of a flow.
    #[inline(always)]
    fn port(&self, flow: u64) -> [u8; 2] {
        (self.ports + (flow as u16 & (PORT_COUNT - 1))).to_be_bytes()
    }

    #[inline(always)]
    fn write_v4(&self, bytes: &mut [u8], flow: u64, (address, service_sum): &([u8; 16], u32)) {
        bytes.copy_from_slice(&self.frame);
        let bytes = &mut bytes[self.l3..];
        let source = 0x0a00_0000 | flow as u32 & 0xff_ffff;
        bytes[12..16].copy_from_slice(&source.to_be_bytes());
        bytes[16..20].copy_from_slice(&address[..4]);
        bytes[20..22].copy_from_slice(&self.port(flow));
        let sum = self.sum + service_sum + (source >> 16) + (source & 0xffff);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        bytes[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }

    #[inline(always)]
    fn write_v6(&self, bytes: &mut [u8], flow: u64, (address, _): &([u8; 16], u32)) {
        bytes.copy_from_slice(&self.frame);
        let bytes = &mut bytes[self.l3..];
        bytes[20..24].copy_from_slice(&(flow as u32).to_be_bytes());
        bytes[24..40].copy_from_slice(address);
        bytes[40..42].copy_from_slice(&self.port(flow));
    }
}

/// The destinations of packets of this kind.
fn services(kind: Kind) -> Vec<([u8; 16], u32)> {
    let each = |n| match traffic::destination(kind, n) {
        IpAddr::V4(v4) => {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&v4.octets());
            (address, sum_of(&v4.octets()))
        }
        IpAddr::V6(v6) => (v6.octets(), 0),
    };
    (0..kind.services).map(each).collect()
}

/// The sum of 16-bit words.
fn sum_of(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum()
}

#[cfg(test)]
mod tests {
    use crate::traffic::{Addressee, Kind, Mix, Transport};

    #[test]
    fn one_of_so_many_packets_differs() {
        let kind = Kind { mix: Mix::Syns(10), ..Kind::HIT };
        let begin = |n| kind.of_packet(n).transport == Transport::Syn;
        assert_eq!((0..30).filter(|&n| begin(n)).collect::<Vec<_>>(), [9, 19, 29]);
        assert!(!kind.of_packet(9).known && kind.of_packet(8).known);
        let kind = Kind { mix: Mix::Tagged(2), ..Kind::HIT };
        assert_eq!((0..4).map(|n| kind.of_packet(n).tags).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert!((0..4).all(|n| kind.of_packet(n).known));
    }

    #[test]
    fn packets_that_change_flows_are_known() {
        let of = |transport, known| Kind { transport, known, ..Kind::HIT }.changes_flows();
        assert!(!of(Transport::Ack, true) && !of(Transport::Udp, true));
        assert!(of(Transport::Fin, true) && of(Transport::Rst, true) && of(Transport::Udp, false));
        assert!(Kind { mix: Mix::Syns(10), ..Kind::HIT }.changes_flows());
        assert!(!Kind { mix: Mix::Tagged(2), ..Kind::HIT }.changes_flows());
        let dropped = Kind { addressee: Addressee::Nobody, known: false, ..Kind::HIT };
        assert!(!dropped.changes_flows());
    }
}
