//! How the backend of a new flow is chosen.

/// How the backend of a new flow is chosen. Every choice follows the weights, and every flow keeps its backend.
///
/// If forwarders do not agree on a choice, the TCP packet that begins a connection makes it. Later packets of a flow
/// that is in no flow table follow its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// By the flow's hash, from the Maglev table: every forwarder chooses alike.
    #[default]
    Maglev,
    /// By the hash of the client's address, from the Maglev table: every forwarder chooses alike, and all flows of a
    /// client go to one backend.
    SourceHash,
    /// In turn; each worker has turns of its own.
    RoundRobin,
    /// At random.
    WeightedRandom,
    /// The backend with fewer flows for its weight, of two that are taken at random. Each worker counts its own flows
    /// (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001).
    LeastFlows,
}

impl Choice {
    /// Every choice, with its name in configurations.
    pub const NAMES: &[(&str, Choice)] = &[
        ("maglev", Choice::Maglev),
        ("source-hash", Choice::SourceHash),
        ("round-robin", Choice::RoundRobin),
        ("weighted-random", Choice::WeightedRandom),
        ("least-flows", Choice::LeastFlows),
    ];

    /// Whether every forwarder chooses the same backend for a flow.
    pub const fn agrees(self) -> bool {
        matches!(self, Choice::Maglev | Choice::SourceHash)
    }
}
