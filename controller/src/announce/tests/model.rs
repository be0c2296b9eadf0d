//! The rules, read plainly: what each peer learns of each address, from all that has happened so far.
//!
//! The model remembers events and asks them again at each step; it keeps no state of its own that a decision might keep
//! in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use guideway_api::{ForwarderState, NodeOrder, VipOrder, VipState};
use guideway_chassis::store::Stored;
use guideway_chassis::wall::Wall;
use guideway_config::{AnnounceWhen, OnQuorumLoss};
use proptest::prelude::*;

use crate::announce::*;

const HOLD: u64 = 5_000;
const DRAIN: u64 = 20_000;
const PEERS: [&str; 3] = ["a", "b", "c"];

const fn v4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))
}

/// Any of two services, withdrawn without; all of two, kept without; one outside of what is allowed; without services.
const ADDRESSES: [IpAddr; 5] = [
    v4(1),
    v4(2),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    v4(3),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

const SERVICES: [(usize, &str); 5] = [(0, "s0"), (0, "s1"), (1, "s2"), (1, "s3"), (2, "s4")];

fn site() -> Site {
    let vip = |index: usize, when, on_loss| {
        let services = SERVICES.iter().filter(|&&(of, _)| of == index);
        let services = services.map(|&(_, name)| name.to_owned()).collect();
        (ADDRESSES[index], VipSite { services, when, on_loss })
    };
    Site {
        vips: [
            vip(0, AnnounceWhen::Any, OnQuorumLoss::Withdraw),
            vip(1, AnnounceWhen::All, OnQuorumLoss::Keep),
            vip(2, AnnounceWhen::Any, OnQuorumLoss::Withdraw),
        ]
        .into(),
        allowed: vec!["203.0.113.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        peers: PEERS.map(str::to_owned).to_vec(),
        hold: Duration::from_millis(HOLD),
        drain_time: Duration::from_millis(DRAIN),
    }
}

#[derive(Clone, Debug)]
enum Event {
    Order {
        address: usize,
        order: VipOrder,
        peers: Vec<usize>,
        hop: bool,
    },
    Node {
        order: NodeOrder,
        peers: Vec<usize>,
    },
    Forwarder(ForwarderState),
    Serves(usize, Option<bool>),
    Pass(u64),
    /// The controller starts anew: of all that it knew, its file is left.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    use prop::sample::{select, subsequence};
    let order = select(vec![
        VipOrder::Announce,
        VipOrder::Announce,
        VipOrder::Withdraw,
        VipOrder::Drain,
        VipOrder::Undrain,
    ]);
    let peers = || {
        prop_oneof![
            2 => Just(Vec::new()),
            1 => subsequence(vec![0, 1, 2], 1..=3),
        ]
    };
    let states = vec![
        ForwarderState::Absent,
        ForwarderState::Silent,
        ForwarderState::Starting,
        ForwarderState::Down,
        ForwarderState::Well,
        ForwarderState::Well,
        ForwarderState::Well,
        ForwarderState::Well,
    ];
    let times = vec![1, 1_000, HOLD - 1, HOLD, DRAIN - HOLD, DRAIN - 1, DRAIN];
    let serves = select(vec![Some(true), Some(true), Some(true), Some(false), Some(false), None]);
    prop_oneof![
        4 => (0..ADDRESSES.len(), order, peers(), any::<bool>())
            .prop_map(|(address, order, peers, hop)| Event::Order { address, order, peers, hop }),
        1 => (select(vec![NodeOrder::Drain, NodeOrder::Undrain]), peers())
            .prop_map(|(order, peers)| Event::Node { order, peers }),
        3 => select(states).prop_map(Event::Forwarder),
        4 => (0..SERVICES.len(), serves).prop_map(|(service, serves)| Event::Serves(service, serves)),
        4 => select(times).prop_map(Event::Pass),
        1 => Just(Event::Restart),
    ]
}

/// Whom an address is for.
#[derive(Clone, Debug, PartialEq)]
enum For {
    AllBut(BTreeSet<usize>),
    Only(BTreeSet<usize>),
}

/// Since when something drains: all peers, and each.
#[derive(Clone, Debug, Default, PartialEq)]
struct Drains {
    all: Option<u64>,
    each: BTreeMap<usize, u64>,
}

impl Drains {
    fn drain(&mut self, peer: Option<usize>, now: u64) {
        match peer {
            None => _ = self.all.get_or_insert(now),
            Some(peer) => _ = self.each.entry(peer).or_insert(now),
        }
    }

    fn undrain(&mut self, peer: Option<usize>) {
        match peer {
            None => *self = Drains::default(),
            Some(peer) => _ = self.each.remove(&peer),
        }
    }

    fn of(&self, peer: usize) -> impl Iterator<Item = u64> {
        self.all.into_iter().chain(self.each.get(&peer).copied())
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Vip {
    is_registered: bool,
    whom: For,
    hop: bool,
    hops: BTreeSet<usize>,
    drains: Drains,
}

impl Vip {
    fn new() -> Vip {
        Vip {
            is_registered: false,
            whom: For::AllBut(BTreeSet::new()),
            hop: false,
            hops: BTreeSet::new(),
            drains: Drains::default(),
        }
    }

    fn order(
        &mut self,
        has_services: bool,
        order: VipOrder,
        peer: Option<usize>,
        hop: bool,
        now: u64,
    ) {
        let is_there = has_services || self.is_registered;
        match (order, peer) {
            (VipOrder::Announce, None) => {
                self.is_registered |= !has_services;
                (self.whom, self.hop) = (For::AllBut(BTreeSet::new()), hop);
                self.hops.clear();
            }
            (VipOrder::Announce, Some(peer)) => {
                if !is_there {
                    (self.is_registered, self.whom) = (true, For::Only(BTreeSet::new()));
                }
                match &mut self.whom {
                    For::AllBut(peers) => _ = peers.remove(&peer),
                    For::Only(peers) => _ = peers.insert(peer),
                }
                if hop {
                    self.hops.insert(peer);
                } else {
                    self.hops.remove(&peer);
                }
            }
            (VipOrder::Withdraw, None) if has_services => self.whom = For::Only(BTreeSet::new()),
            (VipOrder::Withdraw, None) => *self = Vip::new(),
            (VipOrder::Withdraw, Some(peer)) if is_there => match &mut self.whom {
                For::AllBut(peers) => _ = peers.insert(peer),
                For::Only(peers) => {
                    if peers.remove(&peer) && peers.is_empty() && !has_services {
                        *self = Vip::new();
                    }
                }
            },
            (VipOrder::Drain, peer) if is_there => self.drains.drain(peer, now),
            (VipOrder::Undrain, peer) => self.drains.undrain(peer),
            (VipOrder::Withdraw | VipOrder::Drain, _) => {}
        }
    }

    fn is_for(&self, peer: usize) -> bool {
        match &self.whom {
            For::AllBut(peers) => !peers.contains(&peer),
            For::Only(peers) => peers.contains(&peer),
        }
    }
}

/// What was seen at a decision about an address, and whether it was announced.
#[derive(Clone, Copy, Debug)]
struct Sample {
    time: u64,
    forwarder: ForwarderState,
    quorum: Seen,
    is_installed: bool,
    is_announced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    Met,
    Lost,
    Unknown,
}

/// Whether a sample shows an address that stays, or one that goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shows {
    Well,
    Bad,
    Neither,
}

#[derive(Clone, Debug)]
struct Model {
    vips: Vec<Vip>,
    node: Drains,
    forwarder: ForwarderState,
    serves: BTreeMap<String, bool>,
    now: u64,
    /// What was seen of each address since the controller's start.
    samples: Vec<Vec<Sample>>,
    installed: BTreeSet<usize>,
}

impl Model {
    fn has_services(address: usize) -> bool {
        SERVICES.iter().any(|&(of, _)| of == address)
    }

    fn quorum(&self, address: usize) -> Seen {
        let of = SERVICES.iter().filter(|&&(of, _)| of == address);
        let serve: Vec<Option<bool>> =
            of.map(|&(_, name)| self.serves.get(name).copied()).collect();
        let has = |what| serve.contains(&what);
        match ADDRESSES[address] == ADDRESSES[1] {
            _ if serve.is_empty() => Seen::Met,
            // All of them.
            true if has(Some(false)) => Seen::Lost,
            true if has(None) => Seen::Unknown,
            true => Seen::Met,
            // Any of them.
            false if has(Some(true)) => Seen::Met,
            false if has(None) => Seen::Unknown,
            false => Seen::Lost,
        }
    }

    /// The samples since the forwarder began to start last, up to this one.
    fn since_start(&self, address: usize, at: usize) -> &[Sample] {
        let samples = &self.samples[address][..=at];
        let start = samples.iter().rposition(|it| it.forwarder == ForwarderState::Starting);
        &samples[start.map_or(0, |start| start + 1)..]
    }

    fn had_been_announced(&self, address: usize, at: usize) -> bool {
        self.since_start(address, at).iter().any(|it| it.is_announced || it.is_installed)
    }

    fn shows(&self, address: usize, at: usize) -> Shows {
        let sample = self.samples[address][at];
        let had = self.had_been_announced(address, at);
        match (sample.forwarder, sample.quorum) {
            (ForwarderState::Silent | ForwarderState::Down, _) => Shows::Bad,
            (ForwarderState::Absent | ForwarderState::Starting, _) => Shows::Neither,
            (ForwarderState::Well, Seen::Met) => Shows::Well,
            (ForwarderState::Well, Seen::Lost) if had && address == 1 => Shows::Well,
            (ForwarderState::Well, Seen::Unknown) if had => Shows::Neither,
            (ForwarderState::Well, Seen::Lost | Seen::Unknown) => Shows::Bad,
        }
    }

    /// Walks through what was seen: a failure of something announced holds it, until all is well for long enough.
    fn is_held(&self, address: usize) -> bool {
        let samples = &self.samples[address];
        let (mut is_held, mut well_since) = (false, None);
        for (at, sample) in samples.iter().enumerate() {
            if matches!(sample.forwarder, ForwarderState::Absent | ForwarderState::Starting) {
                (is_held, well_since) = (false, None);
                continue;
            }
            let was_announced = match at.checked_sub(1) {
                Some(before) => samples[before].is_announced,
                None => sample.is_installed,
            };
            match self.shows(address, at) {
                Shows::Bad => {
                    is_held |= was_announced;
                    well_since = None;
                }
                Shows::Well if is_held => {
                    let since = *well_since.get_or_insert(sample.time);
                    is_held = sample.time < since + HOLD;
                }
                Shows::Well | Shows::Neither => {}
            }
            if !is_held {
                well_since = None;
            }
        }
        is_held
    }

    /// What keeps the address from all peers, whatever is ordered: the cause's name.
    fn gate(&self, address: usize) -> Option<&'static str> {
        match self.forwarder {
            ForwarderState::Absent => return Some("no_forwarder"),
            ForwarderState::Silent => return Some("forwarder_silent"),
            ForwarderState::Starting => return Some("not_in_force"),
            ForwarderState::Down => return Some("interface_down"),
            ForwarderState::Well if address == 2 => return Some("not_allowed"),
            ForwarderState::Well => {}
        }
        let at = self.samples[address].len() - 1;
        match self.shows(address, at) {
            Shows::Bad => Some("no_quorum"),
            _ if self.is_held(address) => Some("held"),
            _ => None,
        }
    }

    /// What orders let a peer learn.
    fn ordered(&self, address: usize, peer: usize) -> VipState {
        let vip = &self.vips[address];
        let mut drains: Vec<u64> = vip.drains.of(peer).collect();
        drains.extend(self.node.of(peer));
        if !vip.is_for(peer) || drains.iter().any(|since| self.now - since >= DRAIN) {
            VipState::Withdrawn
        } else if drains.is_empty() {
            VipState::Announced
        } else {
            VipState::Draining
        }
    }

    /// What each peer learns, and the next hop that it is told.
    fn learns(&self, address: usize, peer: usize) -> (VipState, Option<IpAddr>) {
        let state = match self.gate(address) {
            Some(_) => VipState::Withdrawn,
            None => self.ordered(address, peer),
        };
        let vip = &self.vips[address];
        let hop = if vip.hops.contains(&peer) {
            Some(hop(address, true))
        } else {
            vip.hop.then(|| hop(address, false))
        };
        (state, hop.filter(|_| state != VipState::Withdrawn))
    }

    /// The cause, if no order names a peer: the first that holds.
    fn cause(&self, address: usize) -> Option<&'static str> {
        let vip = &self.vips[address];
        if !vip.drains.each.is_empty() || !self.node.each.is_empty() {
            return None;
        }
        let is_withdrawn = match &vip.whom {
            For::AllBut(peers) if peers.is_empty() => false,
            For::Only(peers) if peers.is_empty() => true,
            For::AllBut(_) | For::Only(_) => return None,
        };
        let is_over = |since: Option<u64>| since.is_some_and(|since| self.now - since >= DRAIN);
        let gate = self.gate(address);
        let by_orders = || {
            let causes = [
                (is_withdrawn, "ordered"),
                (is_over(vip.drains.all), "drained"),
                (is_over(self.node.all), "node_drained"),
            ];
            causes.into_iter().find(|&(holds, _)| holds).map(|(_, cause)| cause)
        };
        let afterwards = || {
            let quorum = self.quorum(address);
            let causes = [
                (self.node.all.is_some(), "node_drains"),
                (vip.drains.all.is_some(), "drains"),
                (quorum == Seen::Lost, "kept_without_quorum"),
                (Self::has_services(address), "serving"),
                (true, "registered"),
            ];
            causes.into_iter().find(|&(holds, _)| holds).map(|(_, cause)| cause)
        };
        match gate {
            Some("no_quorum" | "held") | None => by_orders().or(gate).or_else(afterwards),
            fault => fault,
        }
    }
}

/// A next hop of the address' family: that of one peer, or of all.
fn hop(address: usize, of_peer: bool) -> IpAddr {
    match (ADDRESSES[address].is_ipv4(), of_peer) {
        (true, false) => "192.0.2.1".parse().unwrap(),
        (true, true) => "192.0.2.2".parse().unwrap(),
        (false, false) => "2001:db8:1::1".parse().unwrap(),
        (false, true) => "2001:db8:1::2".parse().unwrap(),
    }
}

/// The decisions and the model, side by side.
struct Both {
    site: Site,
    orders: Orders,
    memory: Memory,
    installed: BTreeMap<IpAddr, u32>,
    begun: Instant,
    last: Decisions,
    model: Model,
}

impl Both {
    fn new() -> Both {
        Both {
            site: site(),
            orders: Orders::default(),
            memory: Memory::default(),
            installed: BTreeMap::new(),
            begun: Instant::now(),
            last: Decisions::default(),
            model: Model {
                vips: vec![Vip::new(); ADDRESSES.len()],
                node: Drains::default(),
                forwarder: ForwarderState::Well,
                serves: SERVICES.iter().map(|&(_, name)| (name.to_owned(), true)).collect(),
                now: 0,
                samples: vec![Vec::new(); ADDRESSES.len()],
                installed: BTreeSet::new(),
            },
        }
    }

    fn now(&self) -> Now {
        let time = Duration::from_millis(self.model.now);
        Now { steady: self.begun + time, wall: Wall(1_700_000_000_000).after(time) }
    }

    fn apply(&mut self, event: &Event) {
        let now = self.now().wall;
        match event {
            Event::Order { address, order, peers, hop: with_hop } => {
                let with_hop = *with_hop && *order == VipOrder::Announce;
                let names: Vec<String> = peers.iter().map(|&peer| PEERS[peer].to_owned()).collect();
                let hops = [hop(*address, !peers.is_empty())];
                let next_hops = if with_hop { &hops[..] } else { &[] };
                let change = Change { order: *order, peers: &names, next_hops, reason: None };
                let addresses = [ADDRESSES[*address]];
                if *address == 2 && *order == VipOrder::Announce {
                    // It is outside of what is allowed.
                    self.orders.order(Some(&self.site), &addresses, &change, now).unwrap_err();
                    return;
                }
                self.orders.order(Some(&self.site), &addresses, &change, now).unwrap();
                let again = self.orders.order(
                    Some(&self.site),
                    &addresses,
                    &change,
                    now.after(Duration::from_secs(1)),
                );
                assert_eq!(again, Ok(0), "{event:?}");
                let has_services = Model::has_services(*address);
                let scopes = match peers.as_slice() {
                    [] => vec![None],
                    peers => peers.iter().copied().map(Some).collect(),
                };
                for peer in scopes {
                    let vip = &mut self.model.vips[*address];
                    vip.order(has_services, *order, peer, with_hop, self.model.now);
                }
            }
            Event::Node { order, peers } => {
                let names: Vec<String> = peers.iter().map(|&peer| PEERS[peer].to_owned()).collect();
                self.orders.order_node(Some(&self.site), *order, &names, None, now).unwrap();
                let scopes = match peers.as_slice() {
                    [] => vec![None],
                    peers => peers.iter().copied().map(Some).collect(),
                };
                for peer in scopes {
                    match order {
                        NodeOrder::Drain => self.model.node.drain(peer, self.model.now),
                        NodeOrder::Undrain => self.model.node.undrain(peer),
                    }
                }
            }
            Event::Forwarder(state) => self.model.forwarder = *state,
            Event::Serves(service, serves) => {
                let name = SERVICES[*service].1.to_owned();
                match serves {
                    Some(serves) => _ = self.model.serves.insert(name, *serves),
                    None => _ = self.model.serves.remove(&name),
                }
            }
            Event::Pass(time) => self.model.now += time,
            Event::Restart => {
                self.orders = Orders::decode(&self.orders.encode()).unwrap();
                self.memory = Memory::default();
                self.model.samples = vec![Vec::new(); ADDRESSES.len()];
            }
        }
    }

    fn decide_with(&self, memory: &mut Memory) -> Decisions {
        let view = View {
            forwarder: self.model.forwarder,
            services: &self.model.serves,
            installed: &self.installed,
            is_checked: true,
        };
        decide(Some(&self.site), &self.orders, &view, memory, self.now())
    }

    fn step(&mut self, event: &Event) -> Result<(), TestCaseError> {
        self.apply(event);
        let mut memory = std::mem::take(&mut self.memory);
        let decided = self.decide_with(&mut memory);
        self.memory = memory;
        for (address, samples) in self.model.samples.iter_mut().enumerate() {
            samples.push(Sample {
                time: self.model.now,
                forwarder: self.model.forwarder,
                quorum: Seen::Met,
                is_installed: self.model.installed.contains(&address),
                is_announced: false,
            });
        }
        for address in 0..ADDRESSES.len() {
            let quorum = self.model.quorum(address);
            self.model.samples[address].last_mut().unwrap().quorum = quorum;
        }
        let mut installed = BTreeSet::new();
        for (address, &vip) in ADDRESSES.iter().enumerate() {
            let found = decided.decisions.iter().find(|it| it.address == vip);
            let is_listed = Model::has_services(address) || self.model.vips[address].is_registered;
            prop_assert_eq!(found.is_some(), is_listed, "{}", vip);
            let Some(found) = found else {
                // An address that was forgotten is unknown when it is registered again.
                self.model.samples[address].clear();
                continue;
            };
            let mut states = BTreeSet::new();
            for (peer, name) in PEERS.into_iter().enumerate() {
                let plain = Handling { state: found.state, next_hop: None };
                let Handling { state, next_hop } = found.peers.get(name).copied().unwrap_or(plain);
                let expected = self.model.learns(address, peer);
                prop_assert_eq!(
                    (state, next_hop),
                    expected,
                    "{} {}: {:?}",
                    found.address,
                    name,
                    found
                );
                states.insert(state);
            }
            prop_assert!(states.contains(&found.state), "{:?}", found);
            if let Some(cause) = self.model.cause(address) {
                prop_assert_eq!(found.cause.name(), cause, "{:?}", found);
            }
            if found.state != VipState::Withdrawn {
                installed.insert(address);
            }
        }
        for (address, samples) in self.model.samples.iter_mut().enumerate() {
            if let Some(last) = samples.last_mut() {
                last.is_announced = installed.contains(&address);
            }
        }
        // Time alone changes nothing before `next`.
        if let Event::Pass(_) = event
            && !self.last.decisions.is_empty()
            && self.last.next.is_none_or(|next| next > self.now().steady)
        {
            prop_assert_eq!(&decided.decisions, &self.last.decisions);
        }
        prop_assert!(decided.next.is_none_or(|next| next > self.now().steady));
        self.installed = installed.iter().map(|&address| (ADDRESSES[address], ANNOUNCED)).collect();
        self.model.installed = installed;
        self.last = decided;
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Decisions are those of the model, after every event.
    #[test]
    fn decisions_are_those_of_a_plain_reading_of_the_rules(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut both = Both::new();
        for event in &events {
            both.step(event)?;
        }
    }

    /// Whatever flapped: once all is still, the decisions are those of a controller that has just started.
    #[test]
    fn what_has_settled_has_no_history(events in prop::collection::vec(event(), 1..60)) {
        let mut both = Both::new();
        for event in &events {
            both.step(event)?;
        }
        // Nothing stays unknown for longer than a reload takes.
        for (service, known) in SERVICES.iter().enumerate() {
            if !both.model.serves.contains_key(known.1) {
                both.step(&Event::Serves(service, Some(service % 2 == 0)))?;
            }
        }
        let mut steps = 0;
        while let Some(next) = both.last.next {
            let wait = next.duration_since(both.now().steady).as_millis();
            both.step(&Event::Pass(u64::try_from(wait).unwrap().max(1)))?;
            steps += 1;
            prop_assert!(steps < 100, "it never settles");
        }
        both.step(&Event::Pass(HOLD + DRAIN))?;
        let mut fresh = Memory::default();
        prop_assert_eq!(both.decide_with(&mut fresh).decisions, both.last.decisions);
    }
}
