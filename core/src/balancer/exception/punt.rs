//! Gives packets to the kernel that no service and no tunnel takes.

use std::ops::DerefMut;

use crate::balancer::action::Actions;
use crate::balancer::classify::destination;
use crate::balancer::frame::{Allocator, Frame};
use crate::balancer::id::PortIndex;
use crate::balancer::pipeline::{Pipeline, Round};
use crate::balancer::punt::{Class, class_of_other};
use crate::balancer::tables::Tables;
use crate::stats::verdict::{DropReason, Verdict};
use crate::wire::{Error as Malformed, Packet};

impl<F: DerefMut<Target: Frame>, A: Allocator<F>> Pipeline<F, A> {
    /// Gives a packet to the kernel that would be dropped for `reason`, if it is one for the kernel. Counts its verdict
    /// then. Not for packets out of a tunnel.
    ///
    /// # Errors
    /// The packet, and the reason to drop it, which the caller counts.
    #[inline]
    pub(in crate::balancer) fn punt(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        port: PortIndex,
        reason: DropReason,
    ) -> Result<(), (F, DropReason)> {
        // A port without an interface pays for no call.
        let punts = &round.tables.node().punts;
        if !may_be_punted(reason) || !punts.has_interface(port) {
            return Err((frame, reason));
        }
        self.punt_any(round, frame, port, reason)
    }

    /// Gives a packet that came by a port with an interface to the kernel, see [`Pipeline::punt`].
    #[cold]
    #[inline(never)]
    fn punt_any(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        port: PortIndex,
        reason: DropReason,
    ) -> Result<(), (F, DropReason)> {
        let punts = &round.tables.node().punts;
        let class = match class(round.tables, frame.bytes(), reason) {
            Ok(class) => class,
            Err(reason) => return Err((frame, reason)),
        };
        if !self.exceptions.punt_limits.allow(class, punts, round.now) {
            return Err((frame, class.limited()));
        }
        let verdict = match round.actions.punt(port, class, frame, &mut self.stats) {
            Ok(()) => {
                self.stats.event(class.into(), 1);
                Verdict::Punted
            }
            Err(reason) => Verdict::Dropped(reason),
        };
        self.stats.verdict(verdict, 1);
        Ok(())
    }
}

/// Whether packets that are dropped for this reason may be for the kernel: they are no IP packets, to a group, to an
/// address without a service, or ICMP that is not for the packet path.
fn may_be_punted(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::MulticastMac
            | DropReason::NoVip
            | DropReason::IcmpUnsupported
            | DropReason::Malformed(Malformed::NotIp)
    )
}

/// The class of a frame that would be dropped for `reason`.
///
/// # Errors
/// The reason to drop it: it is not for the kernel, looped, or from a source that no host has.
fn class(tables: &Tables, frame: &[u8], reason: DropReason) -> Result<Class, DropReason> {
    let (packet, class) = match Packet::parse(frame) {
        // Packets to a virtual address are the packet path's, whatever MAC address they have. Only neighbour
        // discovery is the kernel's, where the kernel has the address.
        Ok(packet) if tables.vip(destination(&packet, frame)).is_some() => {
            let class = tables.node().punts.class_of_packet(&packet, frame);
            (Some(packet), class.filter(|&class| class == Class::Neighbor))
        }
        Ok(packet) => {
            let class = match tables.node().punts.class_of_packet(&packet, frame) {
                // A virtual address is no peer of a routing protocol, whatever port its service has.
                Some(Class::Own | Class::Routing) if tables.is_answer_to_probe(&packet, frame) => {
                    Some(Class::Probe)
                }
                class => class,
            };
            (Some(packet), class)
        }
        Err(Malformed::NotIp) => (None, class_of_other(frame)),
        Err(_) => return Err(reason),
    };
    let class = class.ok_or(reason)?;
    match (class, packet) {
        (Class::Own | Class::Routing, Some(packet)) => {
            tables.check_source_to_node(&packet, frame, false)?;
        }
        _ => tables.check_loop(frame)?,
    }
    Ok(class)
}
