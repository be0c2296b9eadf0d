//! Sentences of events about checks of backends.

use guideway_api::{CheckVia, Happening};

/// The sentence of an event about checks; none of another.
pub(super) fn sentence(happening: &Happening) -> Option<String> {
    Some(match happening {
        Happening::CheckState {
            check,
            pool,
            backend,
            address,
            from,
            to,
            code,
            status,
            detail,
            latency_us,
        } => {
            let why = code.map(|code| code.in_words(*status, *latency_us, detail));
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let (from, to) = (from.name(), to.name());
            format!(
                "check {check}: backend {backend} ({address}) of pool {pool} is {to}, was {from}{why}"
            )
        }
        Happening::CheckStates { backends } => {
            let noun = if *backends == 1 { "backend" } else { "backends" };
            format!("checks make something else of {backends} more {noun}")
        }
        Happening::CheckFailed {
            check,
            pool,
            backend,
            address,
            code,
            status,
            detail,
            latency_us,
        } => {
            let why = code.in_words(*status, *latency_us, detail);
            format!("check {check}: backend {backend} ({address}) of pool {pool} failed: {why}")
        }
        Happening::ChecksFrozen { via, cause } => {
            let which = by(*via);
            format!("checks{which} change no state any more, states stay as they are: {cause}")
        }
        Happening::ChecksResumed { via, seconds } => {
            format!("checks{} change states again, after {seconds} s", by(*via))
        }
        Happening::PoolPanic { pool, failing, backends } => format!(
            "pool {pool} keeps its backends: {failing} of {backends} failed at once, which is rather the network's \
             fault than theirs"
        ),
        Happening::PoolCalm { pool, failing } => {
            let are = if *failing == 1 { "is" } else { "are" };
            format!("pool {pool} keeps no failing backend any more: {failing} {are} down")
        }
        Happening::CheckPath { interface, problem } => {
            format!("interface {interface} is in the way of probes: {problem}")
        }
        Happening::ChecksFirstOver { targets } => {
            let noun = if *targets == 1 { "check has" } else { "checks have" };
            format!("{targets} {noun} had the first result")
        }
        _ => return None,
    })
}

/// Which checks, if not all.
fn by(via: Option<CheckVia>) -> &'static str {
    match via {
        None => "",
        Some(CheckVia::Tunnel) => " through tunnels",
        Some(CheckVia::Direct) => " by direct ways",
    }
}
