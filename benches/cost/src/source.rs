//! Packets as a device would deliver them: for every burst the headers of the mbufs are written again, each
//! with the next flow's addresses and ports, and with a correct checksum.

#![expect(
    clippy::cast_possible_truncation,
    reason = "a flow's number is spread over address and port"
)]

use std::net::IpAddr;

use guideway::dpdk::{BURST, Burst};

use crate::traffic::{self, Ip, Kind};

/// Step from one flow's number to the next, so that consecutive flows share no cache lines. A prime: it has
/// no factor in common with a smaller number of flows.
const STRIDE: u64 = 4_256_233;

/// Writes the headers of one flow after another, over and over.
pub struct Source {
    frame: Vec<u8>,
    ip: Ip,
    /// Where the IP header begins.
    l3: usize,
    /// Virtual addresses as in a packet, and over IPv4 their part of the checksum.
    services: Vec<([u8; 16], u32)>,
    /// The checksum's sum, without addresses.
    sum: u32,
    flows: u64,
    next: u64,
    /// The lowest client port.
    ports: u16,
}

impl Source {
    /// Packets of this kind and of so many flows.
    pub fn new(kind: Kind, flows: u64) -> Source {
        let frame = traffic::frame(kind, 0);
        let sum_of = |bytes: &[u8]| -> u32 {
            bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum()
        };
        let services = (0..kind.services)
            .map(|n| match traffic::virtual_address(kind.inner, n) {
                IpAddr::V4(v4) => {
                    let mut address = [0; 16];
                    address[..4].copy_from_slice(&v4.octets());
                    (address, sum_of(&v4.octets()))
                }
                IpAddr::V6(v6) => (v6.octets(), 0),
            })
            .collect();
        let l3 = if kind.tagged { 18 } else { 14 };
        let sum = sum_of(&frame[l3..l3 + 10]);
        Source { frame, ip: kind.inner, l3, services, sum, flows, next: 0, ports: 1024 }
    }

    /// As [`Source::new`], with client ports of which [`Source::new`] has none: none of the flows is equal.
    pub fn others(kind: Kind, flows: u64) -> Source {
        Source { ports: 40_000, ..Source::new(kind, flows) }
    }

    /// Fills every mbuf of a full burst with the packets of the next flows.
    pub fn fill(&mut self, burst: &mut Burst) {
        for i in 0..BURST {
            let flow = self.next;
            self.next += STRIDE % self.flows;
            if self.next >= self.flows {
                self.next -= self.flows;
            }
            if let Some(bytes) = burst.get_mut(i).and_then(|mbuf| mbuf.refill(self.frame.len())) {
                match self.ip {
                    Ip::V4 => self.write_v4(bytes, flow),
                    Ip::V6 => self.write_v6(bytes, flow),
                }
            }
        }
    }

    /// The service of a flow, the same each time.
    fn service(&self, flow: u64) -> &([u8; 16], u32) {
        // A multiplication instead of a division.
        let n = (flow & 0xffff).wrapping_mul(self.services.len() as u64) >> 16;
        &self.services[n as usize % self.services.len()]
    }

    #[inline(always)]
    fn write_v4(&self, bytes: &mut [u8], flow: u64) {
        bytes.copy_from_slice(&self.frame);
        let bytes = &mut bytes[self.l3..];
        let (address, service_sum) = self.service(flow);
        let source = 0x0a00_0000 | flow as u32 & 0xff_ffff;
        bytes[12..16].copy_from_slice(&source.to_be_bytes());
        bytes[16..20].copy_from_slice(&address[..4]);
        bytes[20..22].copy_from_slice(&(self.ports + (flow as u16 & 0x3fff)).to_be_bytes());
        let sum = self.sum + service_sum + (source >> 16) + (source & 0xffff);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        bytes[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }

    #[inline(always)]
    fn write_v6(&self, bytes: &mut [u8], flow: u64) {
        bytes.copy_from_slice(&self.frame);
        let bytes = &mut bytes[self.l3..];
        bytes[20..24].copy_from_slice(&(flow as u32).to_be_bytes());
        bytes[24..40].copy_from_slice(&self.service(flow).0);
        bytes[40..42].copy_from_slice(&(self.ports + (flow as u16 & 0x3fff)).to_be_bytes());
    }
}
