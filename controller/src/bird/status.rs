//! What BIRD says of its sessions and routes, read from the replies to `show protocols all`, `show bfd sessions` and
//! `show route export`.
//!
//! The replies are for people: words, columns and blanks. What is not understood is left out, so that another release
//! of BIRD costs details and no more.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use guideway_api::{BgpState, SentRoute};
use guideway_config::Family;
use ipnet::IpNet;

use super::control::Line;
use super::export::GRACEFUL_SHUTDOWN;

/// A session, as BIRD shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Its state; none if BIRD shows a word that is none.
    pub(super) state: Option<BgpState>,
    /// Since when it is up, or is not.
    pub(super) since: Option<SystemTime>,
    /// The last error, in BIRD's words.
    pub(super) error: Option<String>,
    /// What an operator had BIRD or the peer say about the end of the session.
    pub(super) message: Option<String>,
    /// Routes that the peer was sent.
    pub(super) routes: usize,
    /// The hold time in force, in seconds.
    pub(super) hold_time: Option<u16>,
    /// The time from one keepalive to the next in force, in seconds.
    pub(super) keepalive: Option<u16>,
    /// The node's address in the session.
    pub(super) source: Option<IpAddr>,
    /// The next hop of each family, if a route does not have another.
    pub(super) next_hops: BTreeMap<Family, IpAddr>,
}

/// Sessions by BIRD's name.
pub(super) type Sessions = BTreeMap<String, Shown>;

/// Whether BFD says that a peer is alive, by its address.
pub(super) type Alive = BTreeMap<IpAddr, bool>;

/// The BGP sessions of `show protocols all`.
pub(super) fn sessions(lines: &[Line]) -> Sessions {
    let mut sessions = Sessions::new();
    let mut current: Option<&mut Shown> = None;
    let mut family = None;
    for line in lines {
        match (line.code, &mut current) {
            (1002, _) => {
                family = None;
                current = header(&line.text)
                    .map(|(name, shown)| sessions.entry(name).insert_entry(shown).into_mut());
            }
            (1006, Some(shown)) => detail(shown, &mut family, line.text.trim()),
            _ => {}
        }
    }
    sessions
}

/// `to_tor1    BGP        ---        up     2026-11-30T06:00:00.123+0000  Established`.
fn header(text: &str) -> Option<(String, Shown)> {
    let mut words = text.split_whitespace();
    let (name, protocol) = (words.next()?, words.next()?);
    if protocol != "BGP" {
        return None;
    }
    // The table and the state, which is up or not.
    let since = words.nth(2).and_then(time);
    Some((name.to_owned(), Shown { since, ..Shown::default() }))
}

fn detail(shown: &mut Shown, family: &mut Option<Family>, text: &str) {
    if let Some(channel) = text.strip_prefix("Channel ") {
        *family = match channel.trim() {
            "ipv4" => Some(Family::V4),
            "ipv6" => Some(Family::V6),
            _ => None,
        };
    }
    let Some((key, value)) = text.split_once(':') else { return };
    let value = value.trim();
    // `12.345/9`
    let in_force = || value.rsplit_once('/').and_then(|(_, seconds)| seconds.parse().ok());
    match key {
        "BGP state" => shown.state = state(value),
        "Last error" => shown.error = Some(value.to_owned()),
        "Message" => shown.message = Some(value.to_owned()),
        "Hold timer" => shown.hold_time = in_force(),
        "Keepalive timer" => shown.keepalive = in_force(),
        "Source address" => shown.source = value.parse().ok(),
        "Routes" => shown.routes += exported(value),
        "BGP Next hop" => {
            let hop = value.split_whitespace().next().and_then(|hop| hop.parse().ok());
            if let (Some(family), Some(hop)) = (*family, hop) {
                shown.next_hops.insert(family, hop);
            }
        }
        _ => {}
    }
}

fn state(word: &str) -> Option<BgpState> {
    Some(match word {
        "Down" | "Idle" | "Close" => BgpState::Idle,
        "Connect" => BgpState::Connect,
        "Active" | "Passive" => BgpState::Active,
        "OpenSent" => BgpState::OpenSent,
        "OpenConfirm" => BgpState::OpenConfirm,
        "Established" => BgpState::Established,
        _ => return None,
    })
}

/// `0 imported, 12 exported, 0 preferred`.
fn exported(value: &str) -> usize {
    let mut counts = value.split(',').map(str::trim);
    let exported = counts.find_map(|count| count.strip_suffix(" exported"));
    exported.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// `2026-11-30T06:00:00.123+0100`, as the configuration has BIRD write times.
fn time(text: &str) -> Option<SystemTime> {
    let (local, zone) = text.split_at_checked(text.len().checked_sub(5)?)?;
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let (sign, digits) = zone.split_at_checked(1)?;
    let (hours, minutes) = digits.split_at_checked(2)?;
    let number = |text: &str| {
        let all = text.bytes().all(|byte| byte.is_ascii_digit());
        all.then(|| text.parse::<u64>().ok()).flatten()
    };
    let east = Duration::from_secs(number(hours)? * 3600 + number(minutes)? * 60);
    match sign {
        "+" => local.checked_sub(east),
        "-" => local.checked_add(east),
        _ => None,
    }
}

/// Whether each peer of `show bfd sessions` is up.
pub(super) fn bfd(lines: &[Line]) -> Alive {
    let session = |line: &Line| {
        // `10.9.1.0    eth0    Up    2026-11-30T06:00:00.123+0000    0.100    0.300`
        let mut words = line.text.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        Some((address, words.nth(1)? == "Up"))
    };
    lines.iter().filter(|line| line.code == 1020).filter_map(session).collect()
}

/// The routes of `show route export`, by prefix. A route without a next hop of its own has that of the session.
pub(super) fn routes(lines: &[Line], next_hops: &BTreeMap<Family, IpAddr>) -> Vec<SentRoute> {
    let mut routes: Vec<SentRoute> = Vec::new();
    let (one, two) = GRACEFUL_SHUTDOWN;
    let shutdown = format!("({one},{two})");
    for line in lines {
        let first = line.text.split_whitespace().next().unwrap_or("");
        let prefix = first.parse::<IpNet>().ok().filter(|_| line.code == 1007);
        if let Some(prefix) = prefix.filter(|p| p.prefix_len() == p.max_prefix_len()) {
            let address = prefix.addr();
            let next_hop = next_hops.get(&Family::of(address)).copied();
            routes.push(SentRoute { address, draining: false, next_hop });
        }
        let Some(route) = routes.last_mut() else { continue };
        let Some((key, value)) = line.text.trim().split_once(':') else { continue };
        match key {
            "BGP.next_hop" => {
                let hop = value.split_whitespace().next().and_then(|hop| hop.parse().ok());
                route.next_hop = hop.or(route.next_hop);
            }
            "BGP.community" => {
                route.draining = value.split_whitespace().any(|community| community == shutdown);
            }
            _ => {}
        }
    }
    routes.sort_by_key(|route| route.address);
    routes.dedup_by_key(|route| route.address);
    routes
}

#[cfg(test)]
mod tests;
