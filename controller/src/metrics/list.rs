//! The one list of metrics: each with its type, label, meaning, values, and who watches it.
//!
//! From it follow the page `/metrics` and the controller's part of `docs/metrics.md`. Tests hold the page of
//! documentation and the alert rules of `packaging/prometheus/` to the list.
//!
//! Whether an address is announced is a number for each address, not a series for each state: a state that ends would
//! leave a series that ends.

use guideway_api::{BgpPeer, BgpState, CheckState, ForwarderState, Vip, VipCause, VipState};
use guideway_chassis::metrics::{Kind, Watch};

use super::metric::{Metric, Samples, Seen, truth};

/// Every metric, in the order of a page.
pub const METRICS: &[Metric] = &[
    Metric {
        kind: Kind::Gauge,
        name: "guideway_controller_build_info",
        help: "1, with the release as a label.",
        watch: Watch::Dashboard,
        samples: Samples::Release,
    },
    process("process_cpu_seconds_total", Kind::Counter, "Processor time of all threads.", |seen| {
        Some(seen.process.cpu_seconds)
    }),
    process("process_resident_memory_bytes", Kind::Gauge, "Memory in RAM.", |seen| {
        seen.process.resident_bytes.map(|bytes| bytes as f64)
    }),
    process("process_virtual_memory_bytes", Kind::Gauge, "Memory mapped, in RAM or not.", |seen| {
        seen.process.virtual_bytes.map(|bytes| bytes as f64)
    }),
    process("process_open_fds", Kind::Gauge, "Open file descriptors.", |seen| {
        seen.process.open_fds.map(|open| open as f64)
    }),
    process(
        "process_max_fds",
        Kind::Gauge,
        "The most file descriptors that the process may have.",
        |seen| seen.process.max_fds.map(|most| most as f64),
    ),
    process("process_threads", Kind::Gauge, "Threads.", |seen| {
        seen.process.threads.map(|threads| threads as f64)
    }),
    process(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the process started, in seconds since 1970, according to the kernel.",
        |seen| seen.process.start_time,
    ),
    node(
        "guideway_controller_forwarder_up",
        Kind::Gauge,
        "Whether the forwarder answers the controller and forwards, with its interface up. Otherwise no address is \
         announced.",
        Watch::Alerts(&["GuidewayControllerForwarderLost"]),
        |seen| Some(truth(seen.view.forwarder == ForwarderState::Well)),
    ),
    node(
        "guideway_controller_generation",
        Kind::Gauge,
        "The generation of the configuration that decisions go by; 0 before the first.",
        Watch::Dashboard,
        |seen| Some(seen.view.generation as f64),
    ),
    node(
        "guideway_controller_node_drained",
        Kind::Gauge,
        "Whether an operator drains the node, for all peers or for some.",
        Watch::Dashboard,
        |seen| Some(truth(!seen.view.drains.is_empty())),
    ),
    node(
        "guideway_controller_orders_stored",
        Kind::Gauge,
        "Whether the orders of operators are stored; if not, a restart of the controller would lose some.",
        Watch::Alerts(&["GuidewayControllerOrdersUnstored"]),
        |seen| Some(truth(seen.is_stored)),
    ),
    node(
        "guideway_controller_restored_routes_total",
        Kind::Counter,
        "Routes of virtual addresses that somebody else removed from the kernel, and that were put back.",
        Watch::Alerts(&["GuidewayControllerRoutesRemoved"]),
        |seen| Some(seen.view.restored as f64),
    ),
    node(
        "guideway_bird_up",
        Kind::Gauge,
        "Whether BIRD answers the controller; absent if announce.bgp is not managed.",
        Watch::Alerts(&["GuidewayBirdLost"]),
        |seen| seen.view.is_bird_up.filter(|_| seen.is_managed()).map(truth),
    ),
    vip(
        "guideway_vip_announced",
        "Whether the address is announced; 0 while it drains or is withdrawn.",
        Watch::Dashboard,
        |vip| vip.state == VipState::Announced,
    ),
    vip("guideway_vip_draining", "Whether the address drains.", Watch::Dashboard, |vip| {
        vip.state == VipState::Draining
    }),
    vip(
        "guideway_vip_installed",
        "Whether the kernel has the route of the address as it is wanted, or none if none is.",
        Watch::Alerts(&["GuidewayVipNotInstalled"]),
        |vip| vip.installed,
    ),
    vip(
        "guideway_vip_without_quorum",
        "Whether too few services of the address serve, be it kept or withdrawn for that.",
        Watch::Alerts(&["GuidewayVipWithoutQuorum"]),
        |vip| matches!(vip.cause, VipCause::NoQuorum { .. } | VipCause::KeptWithoutQuorum { .. }),
    ),
    peer(
        "guideway_bgp_session_up",
        "Whether the BGP session is established.",
        Watch::Alerts(&["GuidewayBgpSessionDown"]),
        |peer| Some(truth(peer.is_some_and(|peer| peer.state == BgpState::Established))),
    ),
    peer(
        "guideway_bgp_bfd_up",
        "Whether BFD says that the peer is alive; absent without BFD.",
        Watch::Dashboard,
        |peer| peer?.bfd_up.map(truth),
    ),
    peer("guideway_bgp_routes_sent", "Routes sent to the peer.", Watch::Dashboard, |peer| {
        Some(peer.map_or(0.0, |peer| peer.routes as f64))
    }),
    checks(
        "guideway_check_up",
        Kind::Gauge,
        "Whether the check finds that the backend works, though it may ask to be drained; 0 before its first result too.",
        Watch::Dashboard,
        Samples::Checked(|row| truth(matches!(row.state, CheckState::Up | CheckState::Draining))),
    ),
    checks(
        "guideway_check_results_total",
        Kind::Counter,
        "Probes that ended with this code. SOCKERR is the node's own fault.",
        Watch::Alerts(&["GuidewayCheckNodeFaults"]),
        Samples::Results,
    ),
    checks(
        "guideway_check_seconds",
        Kind::Histogram,
        "Time from the begin of a probe to its end.",
        Watch::Dashboard,
        Samples::Times,
    ),
    checks(
        "guideway_check_certificate_ends_seconds",
        Kind::Gauge,
        "When the certificate that the backend showed last ends, in seconds since 1970.",
        Watch::Alerts(&["GuidewayCertificateEnds"]),
        Samples::Certificates,
    ),
    checks(
        "guideway_check_targets",
        Kind::Gauge,
        "Streams of probes: backends with their checks, but one for all pools that share it.",
        Watch::Dashboard,
        Samples::Checks(|checks| checks.targets as f64),
    ),
    checks(
        "guideway_check_late_seconds",
        Kind::Gauge,
        "The greatest time by which the controller began a probe too late within the last 10 seconds.",
        Watch::Dashboard,
        Samples::Checks(|checks| checks.late.as_secs_f64()),
    ),
    checks(
        "guideway_check_path_problems",
        Kind::Gauge,
        "Things on the node that keep probes or their answers from passing, as check list says them.",
        Watch::Alerts(&["GuidewayCheckPath"]),
        Samples::Checks(|checks| checks.checks.warnings.len() as f64),
    ),
    checks(
        "guideway_checks_frozen",
        Kind::Gauge,
        "Whether states of backends do not follow the results of some or all checks.",
        Watch::Alerts(&["GuidewayChecksFrozen"]),
        Samples::Checks(|checks| truth(checks.checks.frozen.is_some())),
    ),
    checks(
        "guideway_pool_panic",
        Kind::Gauge,
        "Whether the pool keeps failing backends, since too many failed at once.",
        Watch::Alerts(&["GuidewayPoolPanic"]),
        Samples::Panics,
    ),
];

const fn checks(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    watch: Watch,
    samples: Samples,
) -> Metric {
    Metric { kind, name, help, watch, samples }
}

const fn process(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&Seen<'_>) -> Option<f64>,
) -> Metric {
    Metric { kind, name, help, watch: Watch::Nobody, samples: Samples::Node(value) }
}

const fn node(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    watch: Watch,
    value: fn(&Seen<'_>) -> Option<f64>,
) -> Metric {
    Metric { kind, name, help, watch, samples: Samples::Node(value) }
}

const fn vip(
    name: &'static str,
    help: &'static str,
    watch: Watch,
    is_so: fn(&Vip) -> bool,
) -> Metric {
    Metric { kind: Kind::Gauge, name, help, watch, samples: Samples::Vips(is_so) }
}

const fn peer(
    name: &'static str,
    help: &'static str,
    watch: Watch,
    value: fn(Option<&BgpPeer>) -> Option<f64>,
) -> Metric {
    Metric { kind: Kind::Gauge, name, help, watch, samples: Samples::Peers(value) }
}
