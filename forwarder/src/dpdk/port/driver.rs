//! What drivers do with the numbers of queues that they are set up with, where no call of DPDK tells.
//!
//! Each fact is read in the driver's source, DPDK 22.11 and 24.11, and names the function that it is from.
//! A driver that is not listed takes any numbers, and its device sends packets only to the receive
//! queues that are set up.

/// The receive queues that a device sends packets to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dealing {
    /// Those that are set up.
    Receive,
    /// As many as the larger number of receive and transmit queues, unless it spreads by RSS. Drivers that
    /// refuse unequal numbers are here too.
    Pairs,
    /// All that the device was made with.
    All,
}

/// What a driver makes of its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The receive queues that get packets.
    pub dealing: Dealing,
    /// Receive queues must be a power of two, or those beyond one get no packets.
    pub power_of_two: bool,
}

const USUAL: Facts = Facts { dealing: Dealing::Receive, power_of_two: false };
const PAIRS: Facts = Facts { dealing: Dealing::Pairs, ..USUAL };
const ALL: Facts = Facts { dealing: Dealing::All, ..USUAL };

const DRIVERS: &[(&str, Facts)] = &[
    // virtio_dev_start sends VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET with max(rx, tx).
    ("net_virtio", PAIRS),
    ("net_virtio_user", PAIRS),
    // Its members, which may be any of these, are set up with its own numbers (slave_configure,
    // fs_dev_configure).
    ("net_bonding", PAIRS),
    ("net_failsafe", PAIRS),
    // tap_dev_configure, eth_dev_configure and bnx2x_dev_configure refuse unequal numbers, or more
    // transmit than receive queues.
    ("net_tap", PAIRS),
    ("net_tun", PAIRS),
    ("net_af_xdp", PAIRS),
    ("net_bnx2x", PAIRS),
    ("net_bnx2xvf", PAIRS),
    // mana_dev_configure.
    ("net_mana", Facts { power_of_two: true, ..PAIRS }),
    // rte_pmd_init_internals joins the sockets of all `qpairs` to one fanout group.
    ("net_af_packet", ALL),
    // The guest sends on any of the `queues` that it finds (eth_dev_info).
    ("net_vhost", ALL),
    // vmxnet3_dev_configure refuses others below version 6 of the device, which only the driver knows.
    ("net_vmxnet3", Facts { power_of_two: true, ..USUAL }),
    // mlx4_flow_internal spreads over the power of two below.
    ("net_mlx4", Facts { power_of_two: true, ..USUAL }),
];

impl Facts {
    /// What is known of a driver.
    pub fn of(driver: &str) -> Facts {
        DRIVERS.iter().find(|(name, _)| *name == driver).map_or(USUAL, |(_, facts)| *facts)
    }

    /// The receive queues of at most `wanted` that the driver makes use of.
    pub fn useful(self, wanted: u16) -> u16 {
        if self.power_of_two && wanted > 0 { 1 << wanted.ilog2() } else { wanted }
    }

    /// The numbers of receive and transmit queues to set up where those are wanted, and the device has
    /// `most` of each, so that the device sends packets to no other receive queue.
    pub fn queues(self, wanted: (u16, u16), most: (u16, u16)) -> (u16, u16) {
        match self.dealing {
            Dealing::Receive => wanted,
            Dealing::Pairs => {
                let pairs = wanted.0.max(wanted.1).min(most.0).min(most.1);
                let pairs = self.useful(pairs);
                (pairs, pairs)
            }
            Dealing::All => (wanted.0.max(most.0), wanted.1),
        }
    }

    /// The receive queues that get packets of a device with so many receive and transmit queues, at most
    /// `most` of the former, by a hash or not.
    pub(super) fn dealt(self, rx: u16, tx: u16, most: u16, by_hash: bool) -> u16 {
        match self.dealing {
            Dealing::Pairs if !by_hash => rx.max(tx),
            Dealing::All => rx.max(most),
            Dealing::Receive | Dealing::Pairs => rx,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_sends_packets_to_no_queue_that_is_not_set_up() {
        for (driver, facts) in DRIVERS.iter().copied().chain([("net_other", USUAL)]) {
            assert_eq!(Facts::of(driver), facts, "each driver is listed once");
            for rx in 1..=8 {
                for tx in 1..=8 {
                    for most in 1..=8 {
                        let (r, t) = facts.queues((rx.min(most), tx.min(most)), (most, most));
                        assert!(r >= 1 && t >= 1 && r <= most && t <= most, "{driver} {r} {t}");
                        for by_hash in [false, true] {
                            assert_eq!(facts.dealt(r, t, most, by_hash), r, "{driver} {rx} {tx}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_unequal_numbers_come_to() {
        let queues = |driver, wanted, most| Facts::of(driver).queues(wanted, (most, most));
        assert_eq!(queues("net_e1000_igb", (1, 3), 8), (1, 3));
        assert_eq!(queues("net_virtio", (1, 3), 8), (3, 3));
        assert_eq!(queues("net_virtio", (1, 2), 2), (2, 2));
        assert_eq!(queues("net_virtio", (1, 1), 4), (1, 1));
        assert_eq!(queues("net_af_packet", (1, 2), 4), (4, 2));
        assert_eq!(queues("net_mana", (1, 3), 8), (2, 2));
        // Without the rule half of a virtio device's packets are lost, and 3 of 4 queues of af_packet.
        assert_eq!(Facts::of("net_virtio").dealt(1, 2, 2, false), 2);
        assert_eq!(Facts::of("net_virtio").dealt(1, 2, 2, true), 1);
        assert_eq!(Facts::of("net_af_packet").dealt(1, 1, 4, false), 4);
    }

    #[test]
    fn queues_that_a_driver_has_no_use_for_are_left_out() {
        let useful = |driver, wanted| Facts::of(driver).useful(wanted);
        assert_eq!([0, 1, 2, 3, 4, 7].map(|n| useful("net_vmxnet3", n)), [0, 1, 2, 2, 4, 4]);
        assert_eq!([0, 1, 3].map(|n| useful("net_e1000_igb", n)), [0, 1, 3]);
    }
}
