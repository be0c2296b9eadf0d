//! Why a session is not established, in words that say what to do.
//!
//! BIRD has a word for what came to its ears. What the kernel drops before, a segment with a wrong signature or from
//! too far away, BIRD never sees; the kernel's counters tell.

use guideway_config::BgpPeer;

use super::counters::Counters;

/// What is known of a session that is not established.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    /// The peer.
    pub(super) peer: &'a BgpPeer,
    /// The AS number of the node in this session.
    pub(super) local_as: u32,
    /// BIRD's last error.
    pub(super) error: Option<&'a str>,
    /// What somebody said about the end of the session.
    pub(super) message: Option<&'a str>,
    /// What the kernel dropped since the session was last established, of all sessions.
    pub(super) dropped: Counters,
    /// Whether other sessions could have caused that, too.
    pub(super) others: bool,
    /// Whether there has been time enough for an answer.
    pub(super) is_late: bool,
}

/// Why the session is not established; none if it is too early to tell.
pub(super) fn why(case: &Case<'_>) -> Option<String> {
    let known = case.error.map(|error| expanded(case, error));
    match (dropped(case), known) {
        // Both ends hear each other. The kernel closes each attempt by segments with a TTL of its own, which GTSM drops.
        (Some(dropped), Some(known)) if case.error.is_some_and(is_about_open) => {
            Some(format!("{known}; {dropped}"))
        }
        (Some(dropped), Some(known)) => Some(format!("{dropped}; BIRD last saw: {known}")),
        (Some(words), None) | (None, Some(words)) => Some(words),
        (None, None) if case.is_late => Some(format!(
            "no answer from {}: is it there, and does it have this node as neighbour?",
            case.peer.address
        )),
        (None, None) => None,
    }
}

/// Whether an error says that one end did not like the other's OPEN message (RFC 4271, section 6.2).
fn is_about_open(error: &str) -> bool {
    let error = error.strip_prefix("BGP Error: ").or_else(|| error.strip_prefix("Received: "));
    error.is_some_and(|error| {
        ["Bad peer AS", "Bad BGP identifier", "Unacceptable hold time"].contains(&error)
    })
}

/// What the kernel dropped, if it can be of this session.
fn dropped(case: &Case<'_>) -> Option<String> {
    let Counters { unsigned, signed, wrongly_signed, far } = case.dropped;
    let has_password = case.peer.password_file.is_some();
    let of = if case.others { " of all sessions that are not established" } else { "" };
    let segments = |number: u64| match number {
        1 => format!("the kernel dropped 1 segment{of}"),
        _ => format!("the kernel dropped {number} segments{of}"),
    };
    let hops = match case.peer.ttl_hops {
        0 | 1 => "1 hop".to_owned(),
        hops => format!("{hops} hops"),
    };
    match () {
        () if has_password && wrongly_signed > 0 => Some(format!(
            "{} with a wrong MD5 signature: does the peer have the same password?",
            segments(wrongly_signed)
        )),
        () if has_password && unsigned > 0 => Some(format!(
            "{} without an MD5 signature: does the peer have the password?",
            segments(unsigned)
        )),
        () if !has_password && signed > 0 => Some(format!(
            "{} with an MD5 signature: the peer has a password, and there is no \
             bgp.peer.password_file here",
            segments(signed)
        )),
        () if case.peer.ttl_security && far > 0 => Some(format!(
            "{} from farther away than {hops}: does the peer send with TTL 255, by ttl_security \
             or GTSM, and is ttl_hops right?",
            segments(far)
        )),
        () => None,
    }
}

/// BIRD's error, and what it takes to mend it.
fn expanded(case: &Case<'_>, error: &str) -> String {
    let Case { peer, local_as, .. } = *case;
    let (address, remote_as) = (peer.address, peer.remote_as);
    let hint = match error {
        "Socket: Connection refused" => {
            format!("{address} has no BGP on port 179, or does not have this node as neighbour")
        }
        "Socket: No route to host" | "Socket: Network is unreachable" => {
            format!("the kernel has no way to {address}")
        }
        "Socket: Connection timed out" => format!("no answer from {address}"),
        "Socket: Connection closed" => {
            "the peer closed the connection without a word; its log says why".to_owned()
        }
        "Socket: Connection reset by peer" => {
            "the peer reset the connection; its log says why".to_owned()
        }
        "Socket: Cannot assign requested address" | "Error: No listening socket" => {
            match peer.source {
                Some(source) => format!("is {source}, bgp.peer.source, an address of this node?"),
                None => "does another program listen on port 179?".to_owned(),
            }
        }
        "BGP Error: Bad peer AS" => {
            format!("the peer has another AS number than bgp.peer.as, {remote_as}")
        }
        "Received: Bad peer AS" => {
            format!("the peer expects another AS number of this node than {local_as}")
        }
        "BGP Error: Bad BGP identifier" | "Received: Bad BGP identifier" => {
            "both ends have the same BGP identifier, or one is 0; see bgp.router_id".to_owned()
        }
        "BGP Error: Unacceptable hold time" | "Received: Unacceptable hold time" => {
            "the hold times of both ends do not fit".to_owned()
        }
        "BGP Error: Required capability missing"
        | "Received: Required capability missing"
        | "BGP Error: No supported AFI/SAFI"
        | "Received: No supported AFI/SAFI" => {
            "both ends have to have a family in common; see bgp.peer.families".to_owned()
        }
        "BGP Error: Hold timer expired" => {
            format!("nothing came from {address} for the hold time")
        }
        "Received: Hold timer expired" => {
            "nothing came from this node for the peer's hold time".to_owned()
        }
        "Error: BFD session down" => format!(
            "{address} does not answer BFD: is it on there, with this node as neighbour? Without \
             it, set bfd = false"
        ),
        "Error: Link down" => "the interface to the peer has no link".to_owned(),
        "Error: Neighbor lost" => {
            format!("this node has no address in the network of {address} any more")
        }
        "Error: Kernel MD5 auth failed" => "the kernel does not take the password".to_owned(),
        "Received: Connection rejected" => {
            "the peer does not have this node as neighbour, or has it disabled".to_owned()
        }
        "Received: Administrative shutdown" | "Received: Administrative reset" => {
            "an operator of the peer ended the session".to_owned()
        }
        "Received: Peer de-configured" => "the peer has this node as neighbour no more".to_owned(),
        "Received: Maximum number of prefixes reached" => {
            "the peer takes fewer prefixes than this node announces".to_owned()
        }
        _ => String::new(),
    };
    let said = case.message.map_or(String::new(), |message| format!(" ({message:?})"));
    if hint.is_empty() { format!("{error}{said}") } else { format!("{error}{said}: {hint}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bird::configuration::tests::peer;

    fn said(peer: &BgpPeer, error: Option<&str>, dropped: Counters, others: bool) -> String {
        let case =
            Case { peer, local_as: 65001, error, message: None, dropped, others, is_late: false };
        why(&case).unwrap_or_default()
    }

    fn dropped(unsigned: u64, signed: u64, wrongly_signed: u64, far: u64) -> Counters {
        Counters { unsigned, signed, wrongly_signed, far }
    }

    #[test]
    fn the_kernel_is_asked_only_about_what_the_session_has() {
        let open = BgpPeer { ttl_security: false, ..peer("a") };
        let signed = BgpPeer { password_file: Some("/p".into()), ..open.clone() };
        let near = BgpPeer { ttl_hops: 2, ..peer("a") };
        let all = dropped(2, 3, 4, 5);
        assert!(said(&signed, None, all, false).starts_with(
            "the kernel dropped 4 segments with a wrong MD5 signature: does the peer"
        ));
        let unsigned = said(&signed, None, dropped(1, 3, 0, 5), false);
        assert!(unsigned.starts_with("the kernel dropped 1 segment without an MD5"), "{unsigned}");
        assert!(said(&open, None, all, false).contains("3 segments with an MD5 signature"));
        let far = said(&near, None, dropped(2, 0, 4, 5), false);
        assert!(far.starts_with("the kernel dropped 5 segments from farther away than 2 hops"));
        assert_eq!(said(&open, None, dropped(2, 0, 4, 5), false), "");
        assert_eq!(said(&signed, None, dropped(0, 3, 0, 5), false), "");
        assert_eq!(said(&near, None, dropped(2, 0, 4, 0), false), "");
    }

    #[test]
    fn nobody_is_blamed_for_another() {
        let signed = BgpPeer { password_file: Some("/p".into()), ..peer("a") };
        let words = said(&signed, None, dropped(0, 0, 1, 0), true);
        assert!(words.contains("1 segment of all sessions that are not established"), "{words}");
    }

    #[test]
    fn errors_say_what_to_do() {
        let of = |error: &str| said(&peer("a"), Some(error), Counters::default(), false);
        assert_eq!(
            of("Received: Bad peer AS"),
            "Received: Bad peer AS: the peer expects another AS number of this node than 65001"
        );
        assert!(of("BGP Error: Bad peer AS").contains("bgp.peer.as, 65000"));
        assert!(of("Error: BFD session down").contains("192.0.2.254 does not answer BFD"));
        assert!(of("BGP Error: Hold timer expired").contains("nothing came from 192.0.2.254"));
        // What is not known stays as BIRD says it.
        assert_eq!(of("Received: Unknown error 9.9"), "Received: Unknown error 9.9");
        let both = said(&peer("a"), Some("Error: Link down"), dropped(0, 0, 0, 2), false);
        assert!(both.starts_with("the kernel dropped 2 segments"), "{both}");
        assert!(both.contains("BIRD last saw: Error: Link down: the interface"), "{both}");
        // GTSM drops what ends an attempt, too, and that is not the reason then.
        let both = said(&peer("a"), Some("Received: Bad peer AS"), dropped(0, 0, 0, 2), false);
        assert!(both.starts_with("Received: Bad peer AS: the peer expects"), "{both}");
        assert!(both.contains("than 65001; the kernel dropped 2 segments"), "{both}");
    }

    #[test]
    fn silence_is_said_when_it_is_late() {
        let peer = peer("a");
        let case = |is_late| Case {
            peer: &peer,
            local_as: 65001,
            error: None,
            message: None,
            dropped: Counters::default(),
            others: true,
            is_late,
        };
        assert_eq!(why(&case(false)), None);
        let words = why(&case(true)).unwrap();
        assert!(words.starts_with("no answer from 192.0.2.254: is it there"), "{words}");
        let said = Case {
            error: Some("Received: Administrative shutdown"),
            message: Some("x\ny"),
            ..case(true)
        };
        let words = why(&said).unwrap();
        assert!(words.contains("shutdown (\"x\\ny\"): an operator"), "{words}");
    }
}
