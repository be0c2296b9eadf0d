//! The cases: kinds of packets and numbers of flows, and what they may cost.

use cost::traffic::{Addressee, Delivery, Ip, Kind, Mix, Transport};

/// A kind of packet and a number of flows.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) flows: u64,
    /// How many bursts a measurement has.
    pub(crate) bursts: usize,
    /// What a packet may cost, if there is a claim.
    pub(crate) limit: Option<Limit>,
    /// The case of `benches/instructions.json` that counts the same packets, if there is one: the same code in the
    /// same bursts.
    pub(crate) instructions: Option<&'static str>,
}

/// The most that a packet may cost.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// So many nanoseconds, by a claim of this text.
    Nanoseconds(f64, &'static str),
    /// So many times the cost of plain GRE with as many flows.
    OfPlain(f64),
}

/// Number of flows in the cases that vary something else.
pub(crate) const COMMON: u64 = 1 << 16;
/// Bursts of one measurement: some milliseconds. Fewer packets than flows in the common cases, so that each packet
/// may be the first of its flow, or the last.
const BURSTS: usize = 2000;
/// Where each packet is a new flow in a table that is partly full: less than one percent of the entries.
const FEW_BURSTS: usize = 250;

/// The limit of one encapsulation or one tag.
const ONE: Option<Limit> = Some(Limit::OfPlain(1.25));
const MIXED: Option<Limit> = Some(Limit::OfPlain(1.3));

impl Case {
    /// What others are compared with: plain GRE.
    pub(crate) const PLAIN: Case = Case {
        name: "TCP hit",
        kind: Kind::HIT,
        flows: COMMON,
        bursts: BURSTS,
        limit: None,
        instructions: Some("hit/v4-in-v4"),
    };

    const fn hit(flows: u64, ns: f64, claim: &'static str) -> Case {
        Case { flows, limit: Some(Limit::Nanoseconds(ns, claim)), ..Case::PLAIN }
    }

    /// With [`COMMON`] flows, and without a limit.
    const fn of(name: &'static str, kind: Kind, instructions: &'static str) -> Case {
        Case { name, kind, instructions: Some(instructions), ..Case::PLAIN }
    }

    const fn at_most(self, limit: Option<Limit>) -> Case {
        Case { limit, ..self }
    }

    const fn by(
        name: &'static str,
        delivery: &'static Delivery,
        instructions: &'static str,
    ) -> Case {
        Case::of(name, Kind::HIT.delivered(delivery), instructions).at_most(ONE)
    }

    const fn dropped(name: &'static str, addressee: Addressee, instructions: &'static str) -> Case {
        let kind = Kind { known: false, addressee, ..Kind::HIT };
        Case::of(name, kind, instructions).at_most(Some(Limit::OfPlain(1.0)))
    }

    /// In a table that is so many percent full.
    const fn filled(name: &'static str, kind: Kind, filled: u8) -> Case {
        let kind = Kind { filled, ..kind };
        let bursts = if kind.known { BURSTS } else { FEW_BURSTS };
        Case { name, kind, bursts, instructions: None, ..Case::PLAIN }
    }

    /// Its title in progress lines.
    pub(crate) fn title(&self) -> String {
        format!("{}, {} flows", self.name, self.flows)
    }

    /// Whether it is compared with plain GRE: it has as many flows, and is not that itself.
    pub(crate) fn is_compared(&self) -> bool {
        self.flows == COMMON && self.name != Case::PLAIN.name
    }

    /// Entries of the flow table: the default number, or two to four for each flow if that is more.
    pub(crate) fn entries(&self) -> usize {
        let enough = usize::try_from(self.flows * 2).map_or(usize::MAX, usize::next_power_of_two);
        enough.max(1 << 20)
    }
}

const UDP: Kind = Kind { transport: Transport::Udp, ..Kind::HIT };
const V6: Kind = Kind { inner: Ip::V6, ..Kind::HIT };

pub(crate) const CASES: &[Case] = &[
    Case::hit(1, 9.0, "TCP hit, GRE over IPv4, 100 backends, 1 flow"),
    Case::hit(1 << 10, 9.0, "TCP hit, GRE over IPv4, 100 backends, 1,024 flows"),
    Case::hit(COMMON, 9.0, "TCP hit, GRE over IPv4, 100 backends, 65,536 flows"),
    Case::hit(1 << 20, 14.0, "TCP hit, GRE over IPv4, 100 backends, 1,048,576 flows"),
    Case::hit(10 << 20, 18.0, "TCP hit, GRE over IPv4, 100 backends, 10,485,760 flows"),
    // First and last packets, and packets for no service.
    Case::of("SYN miss", Kind::SYN, "miss/v4-syn")
        .at_most(Some(Limit::Nanoseconds(35.0, "SYN miss with insert"))),
    Case::of("UDP miss", Kind { known: false, ..UDP }, "miss/v4-udp"),
    Case::of("FIN", Kind { transport: Transport::Fin, ..Kind::HIT }, "hit/v4-fin").at_most(MIXED),
    Case::of("RST", Kind { transport: Transport::Rst, ..Kind::HIT }, "hit/v4-rst").at_most(MIXED),
    Case::dropped("no virtual address", Addressee::Nobody, "drop/v4-no-vip"),
    Case::dropped("closed port", Addressee::ClosedPort, "drop/v4-no-port"),
    // Families and transports.
    Case::of("UDP hit", UDP, "hit/v4-udp"),
    Case::of("IPv6 in IPv4", V6, "hit/v6-in-v4").at_most(Some(Limit::OfPlain(1.2))),
    Case::of("IPv6 in IPv6", Kind { outer: Ip::V6, ..V6 }, "hit/v6-in-v6"),
    Case::of("IPv4 in IPv6", Kind { outer: Ip::V6, ..Kind::HIT }, "hit/v4-in-v6").at_most(ONE),
    // Tags.
    Case::of("one tag", Kind { tags: 1, ..Kind::HIT }, "hit/v4-vlan").at_most(ONE),
    Case::of("two tags", Kind { tags: 2, ..Kind::HIT }, "hit/v4-two-vlans")
        .at_most(Some(Limit::OfPlain(1.4))),
    Case::by("backends in a VLAN", &Delivery::GRE_TO_VLAN, "hit/v4-to-vlan"),
    // Encapsulations.
    Case::by("GRE with a key", &Delivery::GRE_KEY, "hit/v4-gre-key"),
    Case::by("GRE with a key by flow", &Delivery::GRE_FLOW_KEY, "hit/v4-gre-flow-key"),
    Case::by("GRE from a prefix", &Delivery::GRE_FROM_PREFIX, "hit/v4-gre-from-prefix"),
    Case::by("IPIP", &Delivery::IPIP, "hit/v4-ipip"),
    Case::by("GUE", &Delivery::GUE, "hit/v4-gue"),
    Case::by("GUE, variant 0", &Delivery::GUE0, "hit/v4-gue0"),
    Case::by("GRE in UDP", &Delivery::GRE_UDP, "hit/v4-gre-udp"),
    Case::by("VXLAN", &Delivery::VXLAN, "hit/v4-vxlan"),
    Case::by("Geneve", &Delivery::GENEVE, "hit/v4-geneve"),
    Case::by("MPLS in UDP", &Delivery::MPLS_UDP, "hit/v4-mpls-udp"),
    Case::by("MPLS in GRE", &Delivery::MPLS_GRE, "hit/v4-mpls-gre"),
    Case::by("L2", &Delivery::L2, "hit/v4-l2"),
    // Mixed bursts.
    Case::of("one of ten a SYN", Kind { mix: Mix::Syns(10), ..Kind::HIT }, "mixed/v4-syn")
        .at_most(MIXED),
    Case::of("every other tagged", Kind { mix: Mix::Tagged(2), ..Kind::HIT }, "mixed/v4-vlan")
        .at_most(MIXED),
    Case::of(
        "four encapsulations",
        Kind { deliveries: Delivery::FOUR, ..Kind::HIT },
        "mixed/v4-encapsulations",
    )
    .at_most(MIXED),
    // Sizes.
    Case::of("100 services", Kind { services: 100, ..Kind::HIT }, "hit/v4-100-services"),
    Case::of("10,000 services", Kind { services: 10_000, ..Kind::HIT }, "hit/v4-10000-services"),
    Case::of("10 backends", Kind { backends: 10, ..Kind::HIT }, "hit/v4-10-backends"),
    Case::of("10,000 backends", Kind { backends: 10_000, ..Kind::HIT }, "hit/v4-10000-backends"),
    Case::filled("TCP hit, table 25 % full", Kind::HIT, 25),
    Case::filled("TCP hit, table 50 % full", Kind::HIT, 50),
    Case::filled("TCP hit, table 75 % full", Kind::HIT, 75),
    Case::filled("TCP hit, table 90 % full", Kind::HIT, 90),
    Case::filled("SYN miss, table 25 % full", Kind::SYN, 25),
    Case::filled("SYN miss, table 50 % full", Kind::SYN, 50),
    Case::filled("SYN miss, table 75 % full", Kind::SYN, 75),
    Case::filled("SYN miss, table 90 % full", Kind::SYN, 90),
];
