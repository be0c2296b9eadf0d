//! `[probe]`: by what way probes leave the node.

use std::ops::RangeInclusive;

use super::announce::INTERFACE;
use crate::declare::section;
use crate::kind::{Text, integer};
use crate::shape::Form;

/// Ports below are for services of the node (RFC 6335 section 6).
const FIRST_PORT: u16 = 1024;

const PORTS: Text<RangeInclusive<u16>> = Text {
    form: &Form {
        noun: "string",
        limits: "two ports like `10000-59999`, the first at least 1024",
        pattern: r"^\d{4,5}-\d{4,5}$",
    },
    parse: ports,
};

section! {
    /// By what way probes through tunnels leave the node.
    ///
    /// Without `node.check_source` nothing of this is set up.
    "[probe]" 0..=1 => Probe, ProbeDraft {
        /// The name of the TUN device that the forwarder opens for probes through tunnels.
        interface: String = INTERFACE, default "\"gwcheck\"", restart;
        /// The kernel's table whose only route leads there. A rule for each address of `node.check_source` has the
        /// kernel look it up.
        table: u32 = integer(1..=4_294_967_295), default "1001", reload;
        /// The ports that probes through tunnels come from. Nothing else on the node may use them with an address of
        /// `node.check_source`.
        source_ports: RangeInclusive<u16> = PORTS, default "\"10000-59999\"", reload;
        /// How many of them the probes of one check of one backend use by turns, so that no server sees a port again
        /// that it still remembers.
        ports_each: u8 = integer(2..=4), default "2", reload;
    }
}

impl Probe {
    /// How many ports there are.
    pub fn ports(&self) -> usize {
        self.source_ports.len()
    }
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let ports = text.split_once('-').and_then(|(low, high)| Some((number(low)?, number(high)?)));
    match ports {
        Some((low, high)) if low > high => {
            Err(format!("expected {high}-{low}, the smaller one first"))
        }
        Some((low, _)) if low < FIRST_PORT => {
            Err(format!("ports below {FIRST_PORT} are for services; expected others"))
        }
        Some((low, high)) => Ok(low..=high),
        None => Err("expected two ports from 1024 to 65535, like 10000-59999".to_owned()),
    }
}
