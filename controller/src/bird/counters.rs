//! What the kernel counts of TCP segments that it dropped before any session saw them: `/proc/net/netstat`.
//!
//! The counters are of the whole network namespace, so they tell that there is a peer with another password, and not
//! which.

use std::fs;

/// The counters of the network namespace of this thread.
const FILE: &str = "/proc/thread-self/net/netstat";

/// Segments that the kernel dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Without a signature, though the session has a password.
    pub(super) unsigned: u64,
    /// With a signature, though the session has no password.
    pub(super) signed: u64,
    /// With a wrong signature.
    pub(super) wrongly_signed: u64,
    /// From farther away than the session allows.
    pub(super) far: u64,
}

impl Counters {
    /// The counters now; all 0 if the kernel does not tell.
    pub(super) fn read() -> Counters {
        fs::read_to_string(FILE).map_or(Counters::default(), |text| Counters::of(&text))
    }

    fn of(text: &str) -> Counters {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
        let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
            return Counters::default();
        };
        let value = |name: &str| {
            let mut both = names.split_whitespace().zip(values.split_whitespace());
            let found = both.find(|(other, _)| *other == name);
            found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
        };
        Counters {
            unsigned: value("TCPMD5NotFound"),
            signed: value("TCPMD5Unexpected"),
            wrongly_signed: value("TCPMD5Failure"),
            far: value("TCPMinTTLDrop"),
        }
    }

    /// What was counted since an earlier time.
    pub(super) fn since(self, earlier: Counters) -> Counters {
        Counters {
            unsigned: self.unsigned.saturating_sub(earlier.unsigned),
            signed: self.signed.saturating_sub(earlier.signed),
            wrongly_signed: self.wrongly_signed.saturating_sub(earlier.wrongly_signed),
            far: self.far.saturating_sub(earlier.far),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure X \
                    TCPMinTTLDrop\nTcpExt: 9 1 2 3 8 4\nIpExt: A\nIpExt: 7\n";
        let expected = Counters { unsigned: 1, signed: 2, wrongly_signed: 3, far: 4 };
        assert_eq!(Counters::of(text), expected);
        assert_eq!(Counters::of("TcpExt: A\nTcpExt: 1\n"), Counters::default());
        assert_eq!(Counters::of("TcpExt: A\n"), Counters::default());
        let later = Counters { far: 10, ..expected };
        assert_eq!(later.since(expected), Counters { far: 6, ..Counters::default() });
    }

    #[test]
    fn this_kernel_has_the_counters() {
        let text = fs::read_to_string(FILE).unwrap();
        for name in ["TCPMD5NotFound", "TCPMD5Unexpected", "TCPMD5Failure", "TCPMinTTLDrop"] {
            assert!(text.contains(name), "{name}");
        }
    }
}
