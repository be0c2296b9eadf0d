//! The text of BIRD's configuration, `bird.conf`: from a plan and the passwords, without a look at anything else.
//!
//! The same plan makes the same text, byte for byte, so that an equal text need not be applied. BIRD 2.0.12 and later
//! read it. What a name means:
//!
//! | name | what |
//! |---|---|
//! | `vips4`, `vips6` | the tables, which have what the kernel's table has |
//! | `kernel4`, `kernel6` | what copies the kernel's table; nothing is ever written there |
//! | `to_NAME` | the session with the peer NAME |
//! | `to_NAME_4`, `to_NAME_6` | what the peer is told |
//!
//! Names of peers have a prefix, because BIRD takes a name that is one of its words for that word, even in quotes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use guideway_config::{BgpPeer, Family};

use super::Plan;
use super::export::export;
use crate::announce::{Class, Handlings};
use crate::routes::PROTOCOL;

/// The passwords of the peers that have one, by the peer's name.
pub(super) type Passwords = BTreeMap<String, String>;

/// Bytes of the longest password: the kernel takes no longer ones (`TCP_MD5SIG_MAXKEYLEN`).
const LONGEST: usize = 80;

/// Bytes of the buffer in which the kernel keeps what it tells BIRD of routes. What does not fit is lost until the next
/// scan. 2,000 routes that change at once take 1 MiB.
const NETLINK_BUFFER: u32 = 16 << 20;

/// BIRD's name of the session with a peer.
pub(super) fn session(peer: &str) -> String {
    format!("to_{peer}")
}

/// Whether the session is an internal one: both ends are in one AS.
pub(super) fn is_internal(plan: &Plan, peer: &BgpPeer) -> bool {
    local_as(plan, peer) == peer.remote_as
}

/// The AS number of the node in a session.
pub(super) fn local_as(plan: &Plan, peer: &BgpPeer) -> u32 {
    peer.local_as.unwrap_or(plan.bgp.local_as)
}

/// The text of the configuration.
///
/// # Errors
/// If a password cannot be written, or BIRD cannot take a name.
pub(super) fn text(plan: &Plan, passwords: &Passwords) -> Result<String, String> {
    let mut text = String::from(HEAD);
    line(&mut text, &format!("router id {};", plan.router_id));
    text.push_str(TIMES);
    kernel(&mut text, plan, Family::V4);
    kernel(&mut text, plan, Family::V6);
    if plan.bgp.peers.iter().any(|peer| peer.bfd) {
        text.push_str("\nprotocol bfd bfd1 {\n}\n");
    }
    for peer in &plan.bgp.peers {
        let families = [Family::V4, Family::V6].into_iter().filter(|&family| peer.has(family));
        for family in families.clone() {
            text.push('\n');
            text.push_str(&filter(plan, peer, family, &plan.classes));
        }
        let password = match (&peer.password_file, passwords.get(&peer.name)) {
            (None, _) => None,
            (Some(_), Some(password)) => Some(checked(&peer.name, password)?),
            (Some(file), None) => {
                return Err(format!("peer {}: no password in {}", peer.name, file.display()));
            }
        };
        protocol(&mut text, plan, peer, families, password);
    }
    Ok(text)
}

/// Whether a session's routes that BIRD has already become others by a new plan, so that they have to be sent again.
/// Classes that only one of the plans has change nothing: no route has such a class meanwhile.
pub(super) fn changes_routes(old: &Plan, new: &Plan, peer: &str) -> bool {
    let find = |plan: &Plan| plan.bgp.peers.iter().find(|p| p.name == peer).cloned();
    let (Some(before), Some(after)) = (find(old), find(new)) else { return false };
    let common = |plan: &Plan, other: &Plan| -> BTreeMap<Class, Handlings> {
        let classes = plan.classes.iter().filter(|(class, _)| other.classes.contains_key(class));
        classes.map(|(&class, handlings)| (class, handlings.clone())).collect()
    };
    let (classes_before, classes_after) = (common(old, new), common(new, old));
    [Family::V4, Family::V6].into_iter().any(|family| {
        before.has(family)
            && after.has(family)
            && filter(old, &before, family, &classes_before)
                != filter(new, &after, family, &classes_after)
    })
}

const HEAD: &str = "\
# guideway-controller writes this file, and replaces it when the configuration or an order needs it.
log stderr { info, remote, warning, error, auth, fatal, bug };
";

// The zone belongs to the time, since BIRD's need not be that of whoever reads it.
const TIMES: &str = "\
timeformat protocol \"%FT%T.%3f%z\";

protocol device {
  scan time 10;
}

ipv4 table vips4;
ipv6 table vips6;
";

pub(super) fn digit(family: Family) -> char {
    match family {
        Family::V4 => '4',
        Family::V6 => '6',
    }
}

/// The protocol that copies the kernel's table.
fn kernel(text: &mut String, plan: &Plan, family: Family) {
    let (table, interface, digit) = (plan.table, &plan.interface, digit(family));
    let bits = if family == Family::V4 { 32 } else { 128 };
    // Writing to a text cannot fail; so it is everywhere here.
    let _ = write!(
        text,
        "
protocol kernel kernel{digit} {{
  learn;
  scan time 10;
  netlink rx buffer {NETLINK_BUFFER};
  kernel table {table};
  {family} {{
    table vips{digit};
    import where krt_source = {PROTOCOL} && ifname = \"{interface}\" && net.len = {bits};
    export none;
  }};
}}
"
    );
}

/// The filter of what a peer is told.
fn filter(
    plan: &Plan,
    peer: &BgpPeer,
    family: Family,
    classes: &BTreeMap<Class, Handlings>,
) -> String {
    let name = format!("{}_{}", session(&peer.name), digit(family));
    let number = (!is_internal(plan, peer)).then(|| local_as(plan, peer));
    format!("filter '{name}'\n{}", export(&plan.bgp, peer, family, number, classes))
}

/// The session with a peer.
fn protocol(
    text: &mut String,
    plan: &Plan,
    peer: &BgpPeer,
    families: impl Iterator<Item = Family>,
    password: Option<&str>,
) {
    let own = Family::of(peer.address);
    let _ = writeln!(text, "\nprotocol bgp '{}' {{", session(&peer.name));
    let mut item = |item: &str| line(text, &format!("  {item};"));
    let source = peer.source.map_or(String::new(), |source| format!("{source} "));
    item(&format!("local {source}as {}", local_as(plan, peer)));
    item(&format!("neighbor {} as {}", peer.address, peer.remote_as));
    match peer.ttl_hops {
        // An internal session would be one of 64 hops otherwise.
        0 | 1 => item("direct"),
        hops => item(&format!("multihop {hops}")),
    }
    item(if peer.ttl_security { "ttl security on" } else { "ttl security off" });
    if let Some(password) = password {
        item(&format!("password \"{password}\""));
    }
    item(&format!("hold time {}", peer.hold_time.as_secs()));
    // Without a hold time there are no keepalives, and BIRD takes no time for them.
    if !peer.hold_time.is_zero() {
        // A connection on which the peer's OPEN does not come, as it was dropped on the way, keeps BIRD from the next one
        // for 240 seconds otherwise.
        item(&format!("startup hold time {}", peer.hold_time.as_secs()));
        item(&format!("keepalive time {}", peer.keepalive().as_secs().max(1)));
    }
    if peer.bfd {
        let (interval, multiplier) = (peer.bfd_interval.as_millis(), peer.bfd_multiplier);
        item(&format!("bfd {{ interval {interval} ms; multiplier {multiplier}; }}"));
    }
    // A peer that kept routes of a node which is gone would send packets there.
    item("graceful restart off");
    item("long lived graceful restart off");
    // BIRD's own times are minutes, which a node would be without its share of the traffic.
    item("connect delay time 1");
    item("connect retry time 2");
    item("error wait time 1, 2");
    item("error forget time 5");
    for family in families {
        let digit = digit(family);
        let name = session(&peer.name);
        let _ = writeln!(text, "  {family} {{");
        let mut item = |item: &str| line(text, &format!("    {item};"));
        item(&format!("table vips{digit}"));
        item("import none");
        item(&format!("export filter '{name}_{digit}'"));
        // BIRD finds no next hop by itself for the other family, and would not start. Whatever next hop is told is set
        // by the filter: with one of the channel's BIRD also sends its own link-local address, which peers would
        // prefer.
        let other = peer.next_hops.iter().find(|&&hop| Family::of(hop) == family);
        if let (Some(hop), true) = (other, family != own) {
            item(&format!("next hop address {hop}"));
        }
        text.push_str("  };\n");
    }
    text.push_str("}\n");
}

/// A password, if BIRD can read it and the kernel take it.
fn checked<'a>(peer: &str, password: &'a str) -> Result<&'a str, String> {
    let wrong = |what: &str| Err(format!("the password of peer {peer} {what}"));
    match password {
        "" => wrong("is empty"),
        _ if password.len() > LONGEST => {
            wrong("has more than 80 bytes, which TCP cannot sign with")
        }
        _ if password.contains('"') => wrong("has a quotation mark, which BIRD cannot read"),
        _ if password.contains(char::is_control) => wrong("has a control character"),
        _ => Ok(password),
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
pub(super) mod tests;
