//! Configurations and control requests.

use std::path::Path;

use guideway_api::{
    ErrorKind, MAX_CHANGES, MAX_FOR_SECONDS, MAX_REASON, Request, Source, VipOrder,
};
use guideway_chassis::server::parse_request;
use guideway_config as config;
use guideway_config::Mistake;

/// Bytes of a refusal's message at the most. It may quote the client, but not at length.
const MESSAGE: usize = 2048;

/// Any text is a valid configuration that keeps the model's promises, or has mistakes within the text.
pub fn configuration(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let parsed = config::parse(&text);
    assert_eq!(parsed, config::parse(&text), "parsing is deterministic");
    match parsed {
        Ok(parsed) => {
            let configuration = &parsed.configuration;
            assert!(!configuration.ports.is_empty() && !configuration.dpdk.workers.is_empty());
            for service in &configuration.services {
                assert!(service.port > 0 && service.pool < configuration.pools.len());
            }
            let routes = configuration.static_routes();
            for backend in configuration.pools.iter().flat_map(|pool| &pool.backends) {
                assert!(routes.next_hop(backend.address).is_some());
                let source = match backend.address.is_ipv4() {
                    true => configuration.node.tunnel_source_v4.is_some(),
                    false => configuration.node.tunnel_source_v6.is_some(),
                };
                assert!(source, "no tunnel source for {}", backend.address);
            }
            check_lines(parsed.warnings.iter(), &text);
        }
        Err(mistakes) => {
            assert!(mistakes.iter().len() > 0, "refused without a reason");
            check_lines(mistakes.iter(), &text);
        }
    }
}

/// Mistakes come in the order of the text. Each has a line number of the text, and its message is one line.
fn check_lines<'a>(mistakes: impl Iterator<Item = &'a Mistake>, text: &str) {
    let lines = text.matches('\n').count() + 1;
    let mut last = 0;
    for mistake in mistakes {
        assert!((1..=lines).contains(&mistake.line), "{mistake} of {lines} lines");
        assert!((last..=text.len()).contains(&mistake.at), "{mistake} at {}", mistake.at);
        assert!(!mistake.message.is_empty() && !mistake.to_string().contains('\n'), "{mistake:?}");
        assert!(!config::draw(mistake, text, Path::new("f"), false, false).is_empty());
        last = mistake.at;
    }
}

/// Any line is a request that survives writing and reading, or gets a refusal of bounded length.
pub fn request(input: &[u8]) {
    match parse_request(input) {
        Ok(request) => {
            let again = serde_json::to_vec(&request).expect("a request can be written");
            if let Request::BackendSet { changes, source, reason, for_seconds } = &request {
                assert!((1..=MAX_CHANGES).contains(&changes.len()) && *source != Source::File);
                assert!(reason.as_ref().is_none_or(|reason| reason.len() <= MAX_REASON));
                assert!(for_seconds.is_none_or(|seconds| seconds <= MAX_FOR_SECONDS));
                for change in changes {
                    assert!(change.pool.is_some() || change.address.is_some());
                    let reason = change.reason.as_ref();
                    assert!(reason.is_none_or(|reason| reason.len() <= MAX_REASON));
                }
            }
            check_announcements(&request);
            assert_eq!(parse_request(&again), Ok(request));
        }
        Err(refusal) => {
            assert_eq!(refusal.kind, ErrorKind::BadRequest);
            assert!(!refusal.message.is_empty() && refusal.message.len() <= MESSAGE);
        }
    }
}

/// A request about announcements names what can be announced, and to peers that can exist.
fn check_announcements(request: &Request) {
    let (peers, reason) = match request {
        Request::VipSet { addresses, order, peers, next_hops, reason } => {
            assert!((1..=MAX_CHANGES).contains(&addresses.len()));
            assert!(next_hops.is_empty() || *order == VipOrder::Announce);
            assert!(next_hops.len() <= 2);
            for address in addresses.iter().chain(next_hops) {
                let is_special = address.is_unspecified() || address.is_loopback();
                assert!(!is_special && !address.is_multicast(), "{address}");
            }
            (peers, reason)
        }
        Request::NodeSet { peers, reason, .. } => (peers, reason),
        _ => return,
    };
    assert!(reason.as_ref().is_none_or(|reason| reason.len() <= MAX_REASON));
    assert!(peers.len() <= 64 && peers.iter().all(|peer| (1..=63).contains(&peer.len())));
}
