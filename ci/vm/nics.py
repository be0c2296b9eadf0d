"""The network cards of the virtual machine: qemu's arguments, and their addresses in the guest.

All cards are connected to one bridge outside the guest. So is `eth0`, which the guest's kernel drives: the lab's
clients and servers are behind it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Nic:
    name: str
    # The PCI address in the guest.
    address: str
    # DPDK's driver for it.
    driver: str
    # qemu's arguments of the device, without netdev, mac and bus.
    device: str
    # Queues of the tap device: only virtio may have several.
    queues: int = 1

    @property
    def is_express(self):
        """Whether the card is behind its own PCI Express root port."""
        return not self.address.startswith("0000:00:")


VIRTIO = "iommu_platform=on,disable-legacy=on,mq=on"
# Two vectors for each queue pair, one for control and one for configuration; with fewer, there are no receive interrupts.
TWO_PAIRS, ONE_PAIR = "vectors=6", "vectors=4"

NICS = {
    nic.name: nic
    for nic in (
        Nic("virtio-rss", "0000:00:11.0", "net_virtio", f"virtio-net-pci,{VIRTIO},{TWO_PAIRS},rss=on,hash=on", 2),
        Nic("virtio-mq", "0000:00:12.0", "net_virtio", f"virtio-net-pci,{VIRTIO},{TWO_PAIRS}", 2),
        Nic("igb", "0000:01:00.0", "net_e1000_igb", "igb"),
        Nic("e1000e", "0000:02:00.0", "net_e1000_em", "e1000e"),
        Nic("vmxnet3", "0000:00:13.0", "net_vmxnet3", "vmxnet3"),
    )
}


def mac(index):
    """The MAC address of the index-th card; 0 is eth0."""
    return f"02:00:00:00:01:{index:02x}"
