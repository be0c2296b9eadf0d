//! Whole workers over any frames: the burst loop, every exception, and what workers hand to one another.
//!
//! An input begins with four bytes of configuration:
//!
//! | byte | meaning |
//! |---|---|
//! | 0 | bits 0-1: workers, less 1; bit 2: rings divide the flows; bit 3: echo; bit 4: unreachable; bit 5: fragments; bit 6: a cluster; bit 7: a small fragment table |
//! | 1 | bits 0-6: which encapsulation; bit 7: the ports have interfaces |
//! | 2 | the MTU in units of 16 bytes, 68 and more |
//! | 3 | replies, and punts of each class, a second; 255 is any number |
//!
//! Steps follow: a control byte, a length in two bytes, and so many bytes of frame. Bits of the control byte: bits 0-1
//! choose the worker, bit 2 the port. Bit 3 joins the frame to the burst of the next. Bits 4-5 let 0, 10, 500 or 2,000
//! ms pass. Bit 6 makes devices refuse the burst. Bit 7 reloads, with backend 0 draining, disabled or back.
//!
//! Each packet ends in exactly one verdict, or waits until the end, and what leaves is well-formed.

use guideway_core::balancer::backend::Serving;
use guideway_core::balancer::encapsulation::Encapsulation;
use guideway_core::balancer::fragment::Capacity;
use guideway_core::balancer::frame::Buffer;
use guideway_core::balancer::punt::Limit;
use guideway_core::balancer::services::Vip;
use guideway_core::wire::Packet;

use super::workers::{BACKENDS, CLIENTS, Sent, Setup, Workers};

/// Steps of one input; more would find nothing new.
const STEPS: usize = 64;
const HEADROOM: usize = 128;

/// Every packet ends in one verdict.
pub fn run(input: &[u8]) {
    let [flags, encapsulation, mtu, rate, steps @ ..] = input else { return };
    let setup = setup(*flags, *encapsulation, *mtu, *rate);
    let count = usize::from(setup.workers);
    let mtu = usize::from(setup.mtu);
    let mut workers = Workers::new(setup);
    let mut burst = Vec::new();
    let mut rest = steps;
    for _ in 0..STEPS {
        let [control, high, low, bytes @ ..] = rest else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(bytes.len());
        let (frame, next) = bytes.split_at(length);
        rest = next;
        let repaired = super::repaired(frame);
        burst.push(Buffer::new(repaired.as_deref().unwrap_or(frame), HEADROOM));
        if control & 8 != 0 && burst.len() < 32 {
            continue;
        }
        workers.device_is_full = control & 64 != 0;
        let port = if control & 4 == 0 { CLIENTS } else { BACKENDS };
        let worker = usize::from(control & 3) % count;
        check(&workers.receive(worker, port, burst.drain(..)), mtu);
        workers.wait([0, 10, 500, 2000][usize::from(control >> 4 & 3)]);
        if control & 128 != 0 {
            workers.reload(|setup| {
                setup.serving = match setup.serving {
                    Serving::All => Serving::Existing,
                    Serving::Existing => Serving::Nothing,
                    Serving::Nothing => Serving::All,
                }
            });
        }
    }
    workers.finish();
}

fn setup(flags: u8, which: u8, mtu: u8, rate: u8) -> Setup {
    let bit = |n: u8| flags >> n & 1 != 0;
    let small =
        Capacity { datagrams: 3, packets: 4, packets_per_datagram: 3, ..Setup::PLAIN.waiting };
    let (_, encapsulation) =
        Encapsulation::NAMES[usize::from(which & 127) % Encapsulation::NAMES.len()];

    let rate = if rate == 255 { u32::MAX } else { rate.into() };
    Setup {
        workers: u16::from(flags & 3) + 1,
        steers: bit(2),
        encapsulation,
        mtu: (u16::from(mtu) * 16).max(68),
        vip: Vip { echo: bit(3), unreachable: bit(4) },
        fragments: bit(5),
        reply_rate: rate,
        punt_limit: Limit { rate, burst: rate },
        interfaces: [which & 128 != 0; 2],
        clustered: bit(6),
        waiting: if bit(7) { small } else { Setup::PLAIN.waiting },
        ..Setup::PLAIN
    }
}

/// What leaves is an IP packet that the port can send.
fn check(sent: &[Sent], mtu: usize) {
    for (_, frame) in sent {
        let packet = Packet::parse(frame).expect("what is sent is well-formed");
        assert!(packet.ip_length() <= mtu, "{} bytes by a port of {mtu}", packet.ip_length());
    }
}
