//! The rules that look up the kernel's ordinary tables, which `ip rule flush` removes.
//!
//! It leaves the rule of the table `local` alone, and removes `32766: from all lookup main` (and IPv4's `32767: from all
//! lookup default`), so that the node has no route to anybody any more: its BGP sessions end after their hold time, and the
//! forwarder has no next hops. Nobody wants that, and a node that is managed over the network cannot be repaired. So a rule
//! that was there is put back, as the kernel made it, when no rule looks up that table any more. A node that never had
//! one, or has another one for that table, is as its operator wants it.

use guideway_netlink::{Error, Requests};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::kernel::FAMILIES;

/// The kernel's tables `main` and `default`, and the priorities of its rules for them.
const TABLES: [(u8, u32); 2] = [(MAIN, 32_766), (253, 32_767)];
const MAIN: u8 = 254;

/// The rules that there were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    /// For each of the families, whether a rule looked up each of the tables.
    known: [[bool; TABLES.len()]; FAMILIES.len()],
}

impl Rules {
    /// Takes note of the rules that there are, and puts back those that are missing. Returns for which families the
    /// one of the table `main` was put back, and whether that is IPv6.
    pub(super) fn keep(&mut self, requests: &mut Requests) -> Result<Vec<bool>, Error> {
        let mut restored = Vec::new();
        for (known, family) in self.known.iter_mut().zip(FAMILIES) {
            let mut message = RuleMessage::default();
            message.header.family = family;
            let rules = match requests.dump(&RouteNetlinkMessage::GetRule(message)) {
                Ok(rules) => rules,
                // A kernel without this family, or without rules.
                Err(Error::Refused(_)) => continue,
                Err(error) => return Err(error),
            };
            for (known, (table, priority)) in known.iter_mut().zip(TABLES) {
                let is_there = rules.iter().any(|rule| looks_up(rule, family, table));
                *known |= is_there;
                if is_there || !*known {
                    continue;
                }
                let rule = RouteNetlinkMessage::NewRule(rule(family, table, priority));
                match requests.change(rule, NLM_F_CREATE | NLM_F_EXCL) {
                    Ok(()) if table == MAIN => restored.push(family == AddressFamily::Inet6),
                    Ok(()) => (),
                    Err(Error::Refused(refused)) => tracing::warn!(
                        %refused,
                        table,
                        "no rule looks up this table of the kernel any more, and it cannot be put back"
                    ),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(restored)
    }
}

/// Whether a rule is about one of these tables.
pub(super) fn is_about(rule: &RuleMessage) -> bool {
    TABLES.iter().any(|&(table, _)| is_of(rule, table))
}

fn is_of(rule: &RuleMessage, table: u8) -> bool {
    rule.header.table == table || rule.attributes.contains(&RuleAttribute::Table(table.into()))
}

fn looks_up(rule: &RouteNetlinkMessage, family: AddressFamily, table: u8) -> bool {
    let RouteNetlinkMessage::NewRule(rule) = rule else { return false };
    rule.header.family == family && rule.header.action == RuleAction::ToTable && is_of(rule, table)
}

fn rule(family: AddressFamily, table: u8, priority: u32) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = family;
    rule.header.table = table;
    rule.header.action = RuleAction::ToTable;
    rule.attributes.push(RuleAttribute::Priority(priority));
    // As the kernel's own. Of other rules, systemd-networkd removes those that it does not know.
    rule.attributes.push(RuleAttribute::Protocol(RouteProtocol::Kernel));
    rule
}
