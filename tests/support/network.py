"""Network namespaces with cables, and frames sent and captured on them without other tools.

Only the namespaces made here are changed. Their interfaces have no addresses and no IPv6, so that a
cable carries only the test's own frames.
"""

import contextlib
import ctypes
import itertools
import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
TP_STATUS_VLAN_VALID = 1 << 4
TP_STATUS_VLAN_TPID_VALID = 1 << 6
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan")

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def _run(*line):
    done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{' '.join(line)}: {done.stderr}"


class Namespace:
    """A new network namespace; or, by its name and without entry, one that exists."""

    def __init__(self, name=None):
        self.name = name or f"guideway-test-{os.getpid()}-{next(_numbers)}"

    def __enter__(self):
        _run("ip", "netns", "add", self.name)
        return self

    def __exit__(self, *_):
        _run("ip", "netns", "del", self.name)

    def command(self, *line):
        return ["ip", "netns", "exec", self.name, *map(str, line)]

    def cable(self, name):
        """A veth pair in the namespace: `name` is the appliance's end, `name`p the test's."""
        peer = name + "p"
        _run("ip", "-n", self.name, "link", "add", name, "mtu", "1600", "type", "veth", "peer", "name", peer, "mtu", "1600")
        for end in (name, peer):
            _run(*self.command("sysctl", "-qw", f"net.ipv6.conf.{end}.disable_ipv6=1"))
            _run("ip", "-n", self.name, "link", "set", end, "arp", "off", "up")
            settings = [word for offload in OFFLOADS for word in (offload, "off")]
            # Some offloads are fixed, and ethtool reports a failure. The important ones are checked below.
            subprocess.run(self.command("ethtool", "-K", end, *settings), capture_output=True, timeout=30)
            shown = subprocess.run(
                self.command("ethtool", "-k", end), capture_output=True, text=True, check=True, timeout=30
            ).stdout
            assert "tx-checksumming: off" in shown and "generic-segmentation-offload: off" in shown, shown
        return peer

    def packet_socket(self, interface, protocol=ETH_P_ALL):
        """A raw socket bound to an interface of the namespace. Any thread may use it."""

        def make():
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            raw.bind((interface, protocol))
            return raw

        return self.inside(make)

    def inside(self, act):
        """Calls a function in the namespace, and returns what it returns. A socket that it makes stays there."""
        results = []

        def body():
            try:
                with Path(f"/run/netns/{self.name}").open() as handle:
                    if _libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                results.append(act())
            except OSError as error:
                results.append(error)

        # setns moves one thread. A separate thread leaves the test in its namespace.
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if isinstance(results[0], OSError):
            raise results[0]
        return results[0]


class Capture:
    """Records the frames that arrive at an interface, and when, and restores the tags that the kernel removes."""

    def __init__(self, namespace, interface):
        self.frames = []
        self.times = []  # as time.time(), by the kernel
        self._socket = namespace.packet_socket(interface)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.settimeout(0.05)
        self._ending = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        while not self._ending:
            # select() refuses descriptors above 1023.
            with contextlib.suppress(TimeoutError):
                frame, ancillary, _, _ = self._socket.recvmsg(1 << 16, 256)
                self.times.append(_time(ancillary))
                self.frames.append(_with_tag(frame, ancillary))

    def wait(self, count, seconds=10):
        """Waits for `count` frames, then a moment longer for unexpected ones."""
        end = time.monotonic() + seconds
        while len(self.frames) < count and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        return list(self.frames)

    def close(self):
        self._ending = True
        self._thread.join()
        self._socket.close()


def _time(ancillary):
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("=qq", data)
            return seconds + nanoseconds / 1e9
    return time.time()


def _with_tag(frame, ancillary):
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tag, tpid = struct.unpack_from("=IIIHHHH", data)
            if status & TP_STATUS_VLAN_VALID:
                tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                return frame[:12] + struct.pack("!HH", tpid, tag) + frame[12:]
    return frame


@contextlib.contextmanager
def capturing(namespace, interface):
    capture = Capture(namespace, interface)
    try:
        yield capture
    finally:
        capture.close()


@contextlib.contextmanager
def one_cpu():
    """Keeps the thread on one CPU. A veth has a queue for each CPU that sends, so frames of a thread that
    changes its CPU may overtake one another."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


class Traffic:
    """Sends numbered packets at an even pace until stopped. `templates` are whole frames, sent in turn;
    the number replaces the last four bytes."""

    def __init__(self, namespace, interface, templates, per_second):
        self.sent = 0
        self._templates = templates
        self._pause = 1 / per_second
        self._socket = namespace.packet_socket(interface, 0)
        self._ending = False
        self._thread = threading.Thread(target=self._send, daemon=True)

    def _send(self):
        due = time.monotonic()
        with one_cpu():
            while not self._ending:
                due = max(due + self._pause, time.monotonic() - 0.02)
                time.sleep(max(0, due - time.monotonic()))
                template = self._templates[self.sent % len(self._templates)]
                self._socket.send(template[:-4] + self.sent.to_bytes(4, "big"))
                self.sent += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self._thread.join()
        self._socket.close()

    def wait(self, count):
        """Waits until `count` more packets are sent."""
        goal = self.sent + count
        end = time.monotonic() + 30
        while self.sent < goal:
            assert time.monotonic() < end and self._thread.is_alive(), "the sender has stopped"
            time.sleep(0.005)


@contextlib.contextmanager
def probes_each_second():
    """How often the kernel looks at neighbours that it has to keep resolved is a setting of the host, which an appliance
    in a namespace cannot make. The kernel heeds a new value after the old time."""
    paths = [Path(f"/proc/sys/net/ipv{version}/neigh/default/interval_probe_time_ms") for version in (4, 6)]
    before = [path.read_text() for path in paths]
    for path in paths:
        path.write_text("1000")
    try:
        yield
    finally:
        for path, value in zip(paths, before, strict=True):
            path.write_text(value)


def send(namespace, interface, frames, pause=0.0002):
    """Sends frames slowly enough for a receive ring of some hundred frames."""
    raw = namespace.packet_socket(interface, 0)
    with one_cpu():
        for frame in frames:
            raw.send(frame)
            time.sleep(pause)
    raw.close()
