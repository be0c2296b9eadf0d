//! What packets are like: [`Kind`].

use guideway_core::balancer::encapsulation::{Encapsulation, GreKey};
use guideway_core::balancer::frame::BURST;

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ip {
    V4,
    V6,
}

/// The transport of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Ack,
    Syn,
    Fin,
    Rst,
    Udp,
}

/// Whom a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee {
    Service,
    /// A virtual address, but none of its ports.
    ClosedPort,
    /// No virtual address.
    Nobody,
}

/// Packets of a burst that differ from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// None.
    Equal,
    /// One of so many is the SYN of a flow that is not in the table.
    Syns(usize),
    /// One of so many has a VLAN tag.
    Tagged(usize),
}

/// How packets reach a backend.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub encapsulation: Encapsulation,
    pub gre_key: Option<GreKey>,
    /// The length of a prefix out of which the flow chooses the tunnel source.
    pub source_prefix: Option<u8>,
    /// The VLAN of the next hop.
    pub vlan: Option<u16>,
}

impl Delivery {
    const fn by(encapsulation: Encapsulation) -> Delivery {
        Delivery { encapsulation, gre_key: None, source_prefix: None, vlan: None }
    }

    pub const GRE: Delivery = Delivery::by(Encapsulation::Gre);
    pub const GRE_KEY: Delivery =
        Delivery { gre_key: Some(GreKey::Fixed(0x6777)), ..Delivery::GRE };
    pub const GRE_FLOW_KEY: Delivery = Delivery { gre_key: Some(GreKey::Flow), ..Delivery::GRE };
    pub const GRE_FROM_PREFIX: Delivery = Delivery { source_prefix: Some(24), ..Delivery::GRE };
    pub const GRE_TO_VLAN: Delivery = Delivery { vlan: Some(200), ..Delivery::GRE };
    pub const IPIP: Delivery = Delivery::by(Encapsulation::Ipip);
    pub const GUE: Delivery = Delivery::by(Encapsulation::Gue);
    pub const GUE0: Delivery = Delivery::by(Encapsulation::Gue0);
    pub const GRE_UDP: Delivery = Delivery::by(Encapsulation::GreUdp);
    pub const VXLAN: Delivery = Delivery::by(Encapsulation::Vxlan);
    pub const GENEVE: Delivery = Delivery::by(Encapsulation::Geneve);
    pub const MPLS_UDP: Delivery = Delivery::by(Encapsulation::MplsUdp);
    pub const MPLS_GRE: Delivery = Delivery::by(Encapsulation::MplsGre);
    pub const L2: Delivery = Delivery::by(Encapsulation::L2);

    /// Several, for bursts that mix them.
    pub const FOUR: &[Delivery] = &[Delivery::GRE, Delivery::IPIP, Delivery::GUE, Delivery::VXLAN];
}

/// A kind of traffic.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub inner: Ip,
    pub outer: Ip,
    pub transport: Transport,
    /// The flow table has the packets' flows.
    pub known: bool,
    /// How many VLAN tags the packets have, at most two.
    pub tags: u8,
    pub services: u32,
    /// Number of backends; all services share them.
    pub backends: u32,
    /// Backend n is sent its packets by number n of these, over and over.
    pub deliveries: &'static [Delivery],
    pub addressee: Addressee,
    /// How many packets a worker receives at once.
    pub burst: usize,
    pub mix: Mix,
    /// Established flows that the table has been offered beforehand, in percent of its entries. The packets' own
    /// flows are among them, if they are known. 0 for these alone.
    pub filled: u8,
    /// The backends drain: they keep the flows that they have.
    pub draining: bool,
}

impl Kind {
    /// TCP segments of known flows over IPv4, tunnelled by GRE over IPv4, for one service.
    pub const HIT: Kind = Kind {
        inner: Ip::V4,
        outer: Ip::V4,
        transport: Transport::Ack,
        known: true,
        tags: 0,
        services: 1,
        backends: 100,
        deliveries: &[Delivery::GRE],
        addressee: Addressee::Service,
        burst: BURST,
        mix: Mix::Equal,
        filled: 0,
        draining: false,
    };

    /// Every packet the SYN of an unknown flow.
    pub const SYN: Kind = Kind { transport: Transport::Syn, known: false, ..Kind::HIT };

    /// This kind, but to each backend in the same manner.
    #[must_use]
    pub const fn delivered(self, by: &'static Delivery) -> Kind {
        Kind { deliveries: std::slice::from_ref(by), ..self }
    }

    /// The kind of the packet with this number, which has no mix any more.
    #[must_use]
    pub fn of_packet(self, number: usize) -> Kind {
        let plain = Kind { mix: Mix::Equal, ..self };
        match self.mix {
            Mix::Syns(n) if number % n == n - 1 => {
                Kind { transport: Transport::Syn, known: false, ..plain }
            }
            Mix::Tagged(n) if number % n == n - 1 => Kind { tags: 1, ..plain },
            _ => plain,
        }
    }

    /// The packets that bring a flow of this kind into the table, one by one. They are of the flow itself, and so it is
    /// in the state that its packets meet: established for TCP, confirmed for UDP.
    pub fn beginnings(self) -> [Kind; 2] {
        let begun_by = |transport| Kind { transport, mix: Mix::Equal, ..self };
        match self.transport {
            Transport::Udp => [begun_by(Transport::Udp); 2],
            _ => [begun_by(Transport::Syn), begun_by(Transport::Ack)],
        }
    }

    /// Whether the packets change the flow table in more than time stamps. Then they find the table in its first
    /// state only once.
    pub fn changes_flows(self) -> bool {
        let changes = matches!(self.transport, Transport::Syn | Transport::Fin | Transport::Rst);
        self.is_served() && (!self.known || changes || matches!(self.mix, Mix::Syns(_)))
    }

    /// Whether the packets are for a service. Others are dropped.
    pub fn is_served(self) -> bool {
        self.addressee == Addressee::Service
    }
}
