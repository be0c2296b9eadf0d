//! One file for each section: what it declares, and the rules among its keys.

pub(crate) mod announce;
pub(crate) mod bgp;
mod check;
pub(crate) mod cluster;
pub(crate) mod control;
mod device;
pub(crate) mod dpdk;
mod eal;
pub(crate) mod encapsulation;
pub(crate) mod flow;
pub(crate) mod fragments;
pub(crate) mod hash;
pub(crate) mod icmp;
pub(crate) mod inclusion;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod neighbor;
pub(crate) mod node;
pub(crate) mod pool;
mod pool_names;
pub(crate) mod port;
pub(crate) mod punt;
pub(crate) mod service;
pub(crate) mod tunnel;
pub(crate) mod vip;

pub use announce::{Announce, AnnounceWhen, BgpMode, OnQuorumLoss};
pub use bgp::{Bgp, BgpPeer, Community, Family, LONGEST_PEER};
pub use check::{
    Check, CheckHttp, CheckKind, CheckTls, DrainSign, Exchange, InitialState, Probe, Via,
};
pub use cluster::{Cluster, Member};
pub use control::Control;
pub use dpdk::{Dpdk, Idle};
pub use flow::{Flow, Timeouts};
pub use fragments::Fragments;
pub use hash::Hash;
pub use icmp::Icmp;
pub use log::{Log, LogFormat, LogLevel};
pub use metrics::{Listen, Metrics};
pub use neighbor::Neighbor;
pub use node::Node;
pub use pool::{Backend, Curve, Inclusion, MssClamp, OnEmpty, Pool};
pub use port::{Port, Steering};
pub use punt::{Punt, PuntLinkLocal, PuntMulticast, PuntNeighbor, PuntOwn, PuntRouting};
pub use service::{DrainThen, Policy, Service};
pub use tunnel::Tunnel;
pub use vip::Vip;
