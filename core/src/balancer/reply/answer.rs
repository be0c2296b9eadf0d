//! The choice of a reply.

use super::error::IcmpError;
use super::{echo, error, reset};
use crate::balancer::frame::Frame;
use crate::balancer::verdict::{DropReason, Reply};
use crate::wire::Packet;

/// What a packet is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An echo reply.
    Echo,
    /// An ICMP error about the packet.
    Error(IcmpError),
    /// A RST.
    Reset,
}

impl Answer {
    /// The kind of reply.
    pub const fn kind(self) -> Reply {
        match self {
            Answer::Echo => Reply::Echo,
            Answer::Error(error) => error.reply(),
            Answer::Reset => Reply::Reset,
        }
    }

    /// Turns a packet into this answer, from its destination to its source. An error's IP packet has at most `limit`
    /// bytes.
    ///
    /// # Errors
    /// The reason to drop the packet.
    pub fn write(
        self,
        packet: &Packet,
        limit: u16,
        frame: &mut impl Frame,
    ) -> Result<Reply, DropReason> {
        match self {
            Answer::Echo => echo::reply(packet, frame),
            Answer::Error(about) => error::error(packet, about, limit, frame),
            Answer::Reset => reset::reset(packet, frame),
        }
    }
}
