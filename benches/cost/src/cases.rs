//! The cases: kinds of packets and numbers of flows.

use cost::traffic::{Delivery, Ip, Kind, Transport};

/// A kind of packet and a number of flows.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) flows: u64,
    /// The case of `benches/instructions.json` that counts the same packets. All of them are of one kind,
    /// `hit` or `miss`: packets one after another, without a worker's counters. A `burst` case has other
    /// code in it, so a row with one could not be compared with the rest.
    pub(crate) instructions: &'static str,
}

/// Number of flows in the cases that vary something else.
pub(crate) const COMMON: u64 = 1 << 16;

/// Nanoseconds that a hit may cost, by the number of flows.
pub(crate) const TARGETS: [(u64, f64); 5] =
    [(1, 12.0), (1 << 10, 12.0), (1 << 16, 20.0), (1 << 20, 25.0), (10 << 20, 40.0)];

impl Case {
    pub(crate) const HIT: &str = "TCP hit";
    pub(crate) const HIT_V6: &str = "TCP hit, IPv6 in IPv4";
    pub(crate) const SYN: &str = "SYN miss";

    const fn hit(flows: u64) -> Case {
        Case { name: Case::HIT, kind: Kind::HIT, flows, instructions: "hit/v4-in-v4" }
    }

    const fn common(name: &'static str, kind: Kind, instructions: &'static str) -> Case {
        Case { name, kind, flows: COMMON, instructions }
    }

    const fn by(
        name: &'static str,
        delivery: &'static Delivery,
        instructions: &'static str,
    ) -> Case {
        Case::common(name, Kind::HIT.delivered(delivery), instructions)
    }

    /// Its title in progress lines.
    pub(crate) fn title(&self) -> String {
        format!("{}, {} flows", self.name, self.flows)
    }

    /// Entries of the flow table: the default number, or two to four for each flow if that is more.
    pub(crate) fn entries(&self) -> usize {
        let enough = usize::try_from(self.flows * 2).map_or(usize::MAX, usize::next_power_of_two);
        enough.max(1 << 20)
    }
}

const V6: Kind = Kind { inner: Ip::V6, ..Kind::HIT };

pub(crate) const CASES: &[Case] = &[
    Case::hit(1),
    Case::hit(1 << 10),
    Case::hit(1 << 16),
    Case::hit(1 << 20),
    Case::hit(10 << 20),
    Case {
        name: Case::SYN,
        kind: Kind::SYN,
        // More flows than a measurement has packets, so that each packet begins a flow.
        flows: COMMON,
        instructions: "miss/v4-syn",
    },
    Case::common("UDP hit", Kind { transport: Transport::Udp, ..Kind::HIT }, "hit/v4-udp"),
    Case::common(Case::HIT_V6, V6, "hit/v6-in-v4"),
    Case::common("TCP hit, IPv6 in IPv6", Kind { outer: Ip::V6, ..V6 }, "hit/v6-in-v6"),
    Case::common("TCP hit, IPv4 in IPv6", Kind { outer: Ip::V6, ..Kind::HIT }, "hit/v4-in-v6"),
    Case::common("TCP hit, VLAN tag", Kind { tags: 1, ..Kind::HIT }, "hit/v4-vlan"),
    Case::by("TCP hit, IPIP", &Delivery::IPIP, "hit/v4-ipip"),
    Case::by("TCP hit, GUE", &Delivery::GUE, "hit/v4-gue"),
    Case::by("TCP hit, VXLAN", &Delivery::VXLAN, "hit/v4-vxlan"),
    Case::by("TCP hit, L2", &Delivery::L2, "hit/v4-l2"),
    Case::common(
        "TCP hit, 100 services",
        Kind { services: 100, ..Kind::HIT },
        "hit/v4-100-services",
    ),
    Case::common(
        "TCP hit, 10,000 services",
        Kind { services: 10_000, ..Kind::HIT },
        "hit/v4-10000-services",
    ),
    Case::common("TCP hit, 10 backends", Kind { backends: 10, ..Kind::HIT }, "hit/v4-10-backends"),
    Case::common(
        "TCP hit, 10,000 backends",
        Kind { backends: 10_000, ..Kind::HIT },
        "hit/v4-10000-backends",
    ),
];
