#!/usr/bin/python3
"""Starts the virtual machine of an image, and runs a command or a shell in it.

    ci/vm/machine.py IMAGE OUT [COMMAND...]

IMAGE is a directory made by ci/vm/image.sh. The guest can write to OUT, as /out, and has the checkout as
/project, read-only. Without a command the guest's shell is on the terminal. The exit status is the command's,
or 1 if the machine ended before the command. Needs root.

The machine is emulated (TCG), so it runs wherever qemu does. Its cards are on a bridge in a network namespace,
which is removed with it.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from nics import NICS, mac

PROJECT = Path(__file__).resolve().parents[2]
MTU = 9216
LONGEST = 90 * 60  # seconds


class Cables:
    """A bridge with a tap device for each card, in a network namespace."""

    def __init__(self):
        self.namespace = f"gw-vm-{os.getpid()}"

    def __enter__(self):
        run("ip", "netns", "add", self.namespace)
        self.ip("link", "add", "bridge", "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        # The bridge learns no addresses, because the forwarder's address moves from card to card.
        self.ip("link", "set", "bridge", "type", "bridge", "ageing_time", "0")
        self.ip("link", "set", "bridge", "mtu", MTU, "up")
        self.tap("eth0", 1)
        for nic in NICS.values():
            self.tap(nic.name, nic.queues)
        return self

    def __exit__(self, *_):
        run("ip", "netns", "delete", self.namespace)

    def ip(self, *words):
        run("ip", "-n", self.namespace, *words)

    def tap(self, name, queues):
        several = ["multi_queue"] if queues > 1 else []
        self.ip("tuntap", "add", name, "mode", "tap", "vnet_hdr", *several)
        run("ip", "netns", "exec", self.namespace, "sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
        self.ip("link", "set", name, "mtu", MTU, "master", "bridge", "up")


def run(*words):
    subprocess.run(list(map(str, words)), check=True, timeout=60)


def netdev(name, queues=1):
    several = f",queues={queues}" if queues > 1 else ""
    return ["-netdev", f"tap,id={name},ifname={name},script=no,downscript=no,vhost=off{several}"]


def qemu():
    """qemu's command line, within the emulator's root."""
    kernel_options = (
        "console=ttyS0 root=/dev/vda rw init=/sbin/init quiet panic=-1 net.ifnames=0 "
        "intel_iommu=on iommu=pt mitigations=off random.trust_cpu=on"
    )
    line = [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "4", "-m", "3072"),
        *("-machine", "q35,kernel-irqchip=split", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "mon:stdio"),
        *("-device", "intel-iommu,intremap=on,device-iotlb=on"),
        *("-kernel", "/image/kernel", "-initrd", "/image/initrd", "-append", kernel_options),
        *("-drive", "file=/image/disk.img,format=raw,if=none,id=disk,snapshot=on", "-device", "virtio-blk-pci,drive=disk"),
        *("-fsdev", "local,id=project,path=/project,security_model=none,readonly=on"),
        *("-device", "virtio-9p-pci,fsdev=project,mount_tag=project"),
        *("-fsdev", "local,id=out,path=/out,security_model=none", "-device", "virtio-9p-pci,fsdev=out,mount_tag=out"),
        # The guest has the monitor on a serial port, so that a test can unplug cables.
        *("-chardev", "socket,id=monitor,path=/tmp/monitor,server=on,wait=off", "-mon", "chardev=monitor,mode=control"),
        *("-chardev", "socket,id=port,path=/tmp/monitor", "-device", "virtio-serial-pci"),
        *("-device", "virtserialport,chardev=port,name=monitor"),
        *(*netdev("eth0"), "-device", f"virtio-net-pci,netdev=eth0,mac={mac(0)},addr=10"),
    ]
    for index, nic in enumerate(NICS.values(), 1):
        line += netdev(nic.name, nic.queues)
        bus, slot = nic.address.split(":")[1:]
        place = f"addr={slot.removesuffix('.0')}"
        if nic.is_express:
            # Bus numbers are given in the order of the root ports.
            line += ["-device", f"pcie-root-port,id=root{bus},chassis={index},slot={index},addr={0x18 + index:x}"]
            place = f"bus=root{bus}"
        line += ["-device", f"{nic.device},id={nic.name},netdev={nic.name},mac={mac(index)},{place}"]
    return line


def main():
    image, out, command = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3:]
    root = image / "emulator"
    (out / "status").unlink(missing_ok=True)
    (out / "run").unlink(missing_ok=True)
    if command:
        (out / "run").write_text(f"{shlex.join(command)}\necho $? >/out/status\n")
    # The mounts are in this process's own namespace, and end with it.
    mounts = "; ".join(
        f"mount {kind} {shlex.quote(str(what))} {shlex.quote(str(root / where))}"
        for kind, what, where in (
            *(("--rbind", f"/{name}", name) for name in ("dev", "proc", "sys")),
            *(("--bind", image, "image"), ("--bind", PROJECT, "project"), ("--bind", out, "out")),
            ("-t tmpfs", "tmpfs", "tmp"),
        )
    )
    enter = f"{mounts}; exec chroot {shlex.quote(str(root))} \"$@\""
    with Cables() as cables:
        line = ["ip", "netns", "exec", cables.namespace, "unshare", "--mount", "sh", "-euc", enter, "sh", *qemu()]
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL if command else None)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            process.wait(timeout=LONGEST if command else None)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.terminate()
            process.wait(timeout=20)
            raise
        # The namespace is removed after its last process.
        time.sleep(0.2)
    if not command:
        return 0
    status = out / "status"
    if not status.exists():
        print("the virtual machine ended before its command did", file=sys.stderr)
        return 1
    return int(status.read_text())


if __name__ == "__main__":
    sys.exit(main())
