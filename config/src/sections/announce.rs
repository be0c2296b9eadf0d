//! `[announce]`: how virtual addresses are announced.

use std::time::Duration;

use crate::declare::section;
use crate::kind::{Kind, Text, Words, describe, integer, milliseconds, seconds};
use crate::section::Section;
use crate::shape::{Form, Shape};
use crate::text::{NAME, within};
use crate::tree::Value;

/// What announces addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BgpMode {
    /// Nothing: the routes are for static routing or VRRP.
    None,
    /// BIRD, with a configuration that the controller writes.
    Managed,
    /// BIRD or FRR, with the operator's configuration.
    External,
}

impl BgpMode {
    const NAMES: &[(&str, BgpMode)] =
        &[("none", BgpMode::None), ("managed", BgpMode::Managed), ("external", BgpMode::External)];
}

/// Which services of a virtual address have to serve for it to be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnnounceWhen {
    /// Every one.
    All,
    /// At least one.
    Any,
    /// Those of these names.
    Services(Vec<String>),
}

/// What happens to a virtual address when too few of its services serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnQuorumLoss {
    /// It stays announced.
    Keep,
    /// It is withdrawn.
    Withdraw,
}

impl OnQuorumLoss {
    pub(super) const NAMES: &[(&str, OnQuorumLoss)] =
        &[("keep", OnQuorumLoss::Keep), ("withdraw", OnQuorumLoss::Withdraw)];
}

/// `"all"`, `"any"`, or an array of names of services.
pub(super) struct When;

impl Kind for When {
    type Value = AnnounceWhen;

    fn parse(&self, value: &Value<'_>) -> Result<AnnounceWhen, String> {
        let expected = "expected \"all\", \"any\" or an array of names of services";
        match value {
            Value::String(text) if text.as_ref() == "all" => Ok(AnnounceWhen::All),
            Value::String(text) if text.as_ref() == "any" => Ok(AnnounceWhen::Any),
            Value::Array(names) if names.is_empty() => Err(format!("is empty; {expected}")),
            Value::Array(names) => {
                let names = names.iter().map(|name| NAME.parse(&name.value));
                names.collect::<Result<_, _>>().map(AnnounceWhen::Services)
            }
            value => Err(format!("{}; {expected}", describe(value))),
        }
    }

    fn shape(&self) -> Shape {
        let words = Shape::Words(vec!["all", "any"]);
        Shape::Either(vec![words, Shape::Array(Box::new(NAME.shape()))])
    }
}

/// The longest name of a Linux interface.
const MAX_INTERFACE: usize = 15;

pub(super) const INTERFACE: Text<String> = Text {
    form: &Form {
        noun: "name",
        limits: "1 to 15 letters, digits, `.`, `_`, `-`",
        pattern: "^[A-Za-z0-9._-]{1,15}$",
    },
    parse: interface,
};

section! {
    /// How virtual addresses are announced. Without this section none is.
    ///
    /// [Announcing](announcing.md) says how the forwarder, the controller and BIRD or FRR share the work.
    "[announce]" 0..=1 => Announce, AnnounceDraft {
        /// The name of the TUN device that the forwarder opens. The routes of virtual addresses lead there, and are gone
        /// when the forwarder is.
        interface: String = INTERFACE, default "\"gwvip\"", restart;
        /// The kernel's table of the routes of virtual addresses, which no rule looks up. BIRD exports it. FRR 8 exports
        /// no other table than the main one, 254.
        table: u32 = integer(1..=4_294_967_295), default "1000", reload;
        /// What announces the addresses. `"managed"`: BIRD, with a configuration that the controller writes from
        /// [`[bgp]`](#bgp). `"external"`: BIRD or FRR, with a configuration of your own. `"none"`: nothing.
        bgp: BgpMode = Words(BgpMode::NAMES), default "\"none\"", reload;
        /// How long a worker may stand still, or the forwarder not answer the controller, until all addresses are
        /// withdrawn.
        stall: Duration = milliseconds(100..=60_000), default "500", reload, unit "milliseconds";
        /// Which services of an address have to serve for it to be announced: `"all"`, `"any"`, or those of these names.
        ///
        /// A service serves if its pool has `pool.min_active` backends that accept new flows, if the pool's backup
        /// serves, or if `pool.on_empty` has all backends serve. [`[[vip]]`](#vip-at-most-65535) says otherwise for one address.
        announce_when: AnnounceWhen = When, default "\"any\"", reload;
        /// What happens to an address when too few of its services serve. With `"keep"`, one bad check does not take
        /// the address away from the whole fleet.
        on_quorum_loss: OnQuorumLoss = Words(OnQuorumLoss::NAMES), default "\"keep\"", reload;
        /// How long everything has to be well before an address that was withdrawn for a failure is announced again.
        hold: Duration = seconds(0..=3_600), default "5", reload, unit "seconds";
        /// How long an address drains until it is withdrawn.
        drain_time: Duration = seconds(0..=86_400), default "60", reload, unit "seconds";
        /// How long the forwarder goes on forwarding when it stops, after all addresses are withdrawn.
        linger: Duration = milliseconds(0..=300_000), default "2000", reload, unit "milliseconds";
    }
}

pub(crate) fn read(root: &Section<'_>) -> (bool, AnnounceDraft) {
    let section = root.table("announce", false);
    (section.is_present(), AnnounceDraft::read(&section))
}

fn interface(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let expected = "1 to 15 letters, digits, points, underscores and hyphens";
    match text {
        "." | ".." => Err(format!("expected {expected}, and no path")),
        // The directories of sysctls have entries of these names, for all devices.
        "all" | "default" => {
            Err("expected another name: the kernel has no device of this one".to_owned())
        }
        text => within(text, 1..=MAX_INTERFACE, allowed, expected),
    }
}
