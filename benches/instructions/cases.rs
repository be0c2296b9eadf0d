//! What is counted: kinds of packets, and the step up to which a worker takes them.

use crate::traffic::{Addressee, Delivery, Ip, Kind, Mix, PACKETS, Traffic, Transport};

/// Processes the packets up to some step. Returns how many passed it.
pub(crate) type Run = fn(&mut Traffic) -> usize;

/// One count.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) run: Run,
    /// How many packets pass.
    pub(crate) passing: usize,
}

/// All packets, through all that a worker does, up to its outputs.
const fn whole(name: &'static str, kind: Kind) -> Case {
    Case { name, kind, run: Traffic::process, passing: PACKETS }
}

const fn step(name: &'static str, run: Run) -> Case {
    Case { name, kind: Kind::HIT, run, passing: PACKETS }
}

/// Packets of which a worker sends none.
const fn dropped(name: &'static str, addressee: Addressee) -> Case {
    let kind = Kind { known: false, addressee, ..Kind::HIT };
    Case { passing: 0, ..whole(name, kind) }
}

const fn by(name: &'static str, delivery: &'static Delivery) -> Case {
    whole(name, Kind::HIT.delivered(delivery))
}

const V6: Kind = Kind { inner: Ip::V6, outer: Ip::V6, ..Kind::HIT };

pub(crate) const CASES: &[Case] = &[
    step("stage/0-loop", Traffic::nothing),
    step("stage/1-classify", Traffic::classify),
    step("stage/2-process", Traffic::process),
    step("general/parse", Traffic::parse),
    step("general/decide", Traffic::decide),
    step("sweep/4-buckets-1-flow", Traffic::sweep),
    // Families and transports.
    whole("hit/v4-in-v4", Kind::HIT),
    whole("hit/v4-in-v6", Kind { outer: Ip::V6, ..Kind::HIT }),
    whole("hit/v6-in-v4", Kind { inner: Ip::V6, ..Kind::HIT }),
    whole("hit/v6-in-v6", V6),
    whole("hit/v4-udp", Kind { transport: Transport::Udp, ..Kind::HIT }),
    whole("hit/v4-fin", Kind { transport: Transport::Fin, ..Kind::HIT }),
    whole("hit/v4-rst", Kind { transport: Transport::Rst, ..Kind::HIT }),
    // Tags.
    whole("hit/v4-vlan", Kind { tags: 1, ..Kind::HIT }),
    whole("hit/v4-two-vlans", Kind { tags: 2, ..Kind::HIT }),
    whole("hit/v6-vlan", Kind { tags: 1, ..V6 }),
    by("hit/v4-to-vlan", &Delivery::GRE_TO_VLAN),
    whole("hit/v4-vlan-ipip", Kind { tags: 1, ..Kind::HIT.delivered(&Delivery::IPIP) }),
    // Encapsulations.
    by("hit/v4-gre-key", &Delivery::GRE_KEY),
    by("hit/v4-gre-flow-key", &Delivery::GRE_FLOW_KEY),
    by("hit/v4-gre-from-prefix", &Delivery::GRE_FROM_PREFIX),
    by("hit/v4-ipip", &Delivery::IPIP),
    by("hit/v4-gue", &Delivery::GUE),
    by("hit/v4-gue0", &Delivery::GUE0),
    by("hit/v4-gre-udp", &Delivery::GRE_UDP),
    by("hit/v4-vxlan", &Delivery::VXLAN),
    by("hit/v4-geneve", &Delivery::GENEVE),
    by("hit/v4-mpls-udp", &Delivery::MPLS_UDP),
    by("hit/v4-mpls-gre", &Delivery::MPLS_GRE),
    by("hit/v4-l2", &Delivery::L2),
    whole("hit/v6-in-v4-ipip", Kind { outer: Ip::V4, ..V6.delivered(&Delivery::IPIP) }),
    whole("hit/v6-in-v6-gue", V6.delivered(&Delivery::GUE)),
    // Sizes.
    whole("hit/v4-10-backends", Kind { backends: 10, ..Kind::HIT }),
    whole("hit/v4-10000-backends", Kind { backends: 10_000, ..Kind::HIT }),
    whole("hit/v4-100-services", Kind { services: 100, ..Kind::HIT }),
    whole("hit/v4-10000-services", Kind { services: 10_000, ..Kind::HIT }),
    whole("hit/v4-draining", Kind { draining: true, ..Kind::HIT }),
    whole("hit/v4-90-full", Kind { filled: 90, ..Kind::HIT }),
    // First packets, and packets for no service.
    whole("miss/v4-syn", Kind::SYN),
    whole("miss/v6-syn", Kind { transport: Transport::Syn, known: false, ..V6 }),
    whole("miss/v4-udp", Kind { transport: Transport::Udp, known: false, ..Kind::HIT }),
    whole("miss/v4-syn-90-full", Kind { filled: 90, ..Kind::SYN }),
    dropped("drop/v4-no-vip", Addressee::Nobody),
    dropped("drop/v4-no-port", Addressee::ClosedPort),
    // Bursts that are short or mixed.
    whole("burst/v4-hit-of-1", Kind { burst: 1, ..Kind::HIT }),
    whole("burst/v4-hit-of-4", Kind { burst: 4, ..Kind::HIT }),
    whole("mixed/v4-syn", Kind { mix: Mix::Syns(10), ..Kind::HIT }),
    whole("mixed/v4-vlan", Kind { mix: Mix::Tagged(2), ..Kind::HIT }),
    whole("mixed/v4-encapsulations", Kind { deliveries: Delivery::FOUR, ..Kind::HIT }),
];
