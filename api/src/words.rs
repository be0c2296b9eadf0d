//! The facts of announcements and checks in words, the same in logs and in listings.

use std::fmt;

use crate::announce::{AnnouncingState, VipCause};
use crate::check::{CheckCode, CheckResult};

impl fmt::Display for VipCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VipCause::NoForwarder => "there is no connection to the forwarder",
            VipCause::ForwarderSilent => "the forwarder does not answer",
            VipCause::NotInForce => "not every worker forwards by the configuration yet",
            VipCause::NotConfigured => "the configuration has no [announce]",
            VipCause::InterfaceDown => "the forwarder has taken its interface down",
            VipCause::NotAllowed => "bgp.allowed does not have it",
            VipCause::Ordered => "by order",
            VipCause::Drained => "it is drained",
            VipCause::NodeDrained => "the node is drained",
            VipCause::NotChecked => "the first checks of its backends are not over",
            VipCause::Held => "all is well, and announce.hold is not over",
            VipCause::NodeDrains => "the node drains",
            VipCause::Drains => "it drains",
            VipCause::Serving => "its services serve",
            VipCause::Registered => "it is registered",
            VipCause::NoQuorum { services } => {
                let services = services.join(", ");
                return write!(f, "too few of its services serve, without {services}");
            }
            VipCause::KeptWithoutQuorum { services } => {
                let services = services.join(", ");
                return write!(f, "kept, though these services do not serve: {services}");
            }
        })
    }
}

impl fmt::Display for AnnouncingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AnnouncingState::Starting => "the workers have not begun",
            AnnouncingState::Up => "it is up",
            AnnouncingState::WorkerStalled { worker } => {
                return write!(f, "worker {worker} stalls");
            }
            AnnouncingState::NoLink => "no port has a link",
            AnnouncingState::Stopping => "the forwarder stops",
            AnnouncingState::Removed => {
                "somebody else removed it, which takes a restart of guideway, or set it down for a moment"
            }
        })
    }
}

impl CheckCode {
    /// How a probe ended, in a few words: `L7STS 503 in 12 ms: the status is not expected`.
    pub fn in_words(self, status: Option<u16>, latency_us: u64, detail: &str) -> String {
        let status = status.map(|status| format!(" {status}")).unwrap_or_default();
        let time = match latency_us {
            0..10_000 => format!("{}.{}", latency_us / 1000, latency_us % 1000 / 100),
            _ => (latency_us / 1000).to_string(),
        };
        let colon = if detail.is_empty() { "" } else { ": " };
        format!("{}{status} in {time} ms{colon}{detail}", self.name())
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code.in_words(self.status, self.latency_us, &self.detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_its_status_its_time_and_its_detail() {
        let words = |code: CheckCode, status, latency_us, detail: &str| {
            let (detail, time) = (detail.to_owned(), String::new());
            CheckResult { code, status, detail, latency_us, time }.to_string()
        };
        assert_eq!(words(CheckCode::L4Ok, None, 0, ""), "L4OK in 0.0 ms");
        assert_eq!(words(CheckCode::L4Ok, None, 1_299, ""), "L4OK in 1.2 ms");
        assert_eq!(words(CheckCode::L6Ok, None, 9_999, ""), "L6OK in 9.9 ms");
        assert_eq!(words(CheckCode::L7Sts, Some(503), 12_900, "no"), "L7STS 503 in 12 ms: no");
        let endless = words(CheckCode::L4Tout, None, u64::MAX, "no answer");
        assert_eq!(endless, "L4TOUT in 18446744073709551 ms: no answer");
    }
}
