"""The network cards of the virtual machine, as both sides know them: qemu's arguments, and where the
guest finds each.

All are cabled to one bridge outside the guest, and so is `eth0`, which the guest's kernel keeps: the
lab's clients and servers are behind that one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Nic:
    name: str
    # Where the guest has it.
    address: str
    # DPDK's driver for it.
    driver: str
    # qemu's arguments of the device, but for netdev, mac and bus.
    device: str
    # Of the tap device: only virtio may have several.
    queues: int = 1

    @property
    def is_express(self):
        """Behind a PCI Express root port of its own, where it is the first device."""
        return not self.address.startswith("0000:00:")


VIRTIO = "iommu_platform=on,disable-legacy=on,mq=on"
# Each queue pair takes two vectors, control and configuration one each: with fewer, receive interrupts are missing.
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
    """Of the index-th card; 0 is eth0's."""
    return f"02:00:00:00:01:{index:02x}"
