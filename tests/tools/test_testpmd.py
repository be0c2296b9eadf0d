"""The packets of testpmd's command files and of the captures that it replays, and a short run of each through
the appliance over shared memory."""

import importlib.util
import itertools
import os
import re
import struct
import subprocess
import sys

import pytest
from scapy.layers.inet import IP, TCP, UDP, defragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from support import binaries
from support.binaries import ROOT

FOLDER = ROOT / "pktgen-scripts"
MAC = "02:00:00:00:00:01"


def load(name):
    spec = importlib.util.spec_from_file_location(f"pktgen_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


capture = load("capture")


def records(file):
    """Frames of a capture that is still being written."""
    file.read(24)
    while header := file.read(16):
        _, _, captured, length = struct.unpack("=IIII", header)
        assert captured == length
        yield file.read(captured)


def sent(directory, command_file, count, devices=()):
    """The first frames that testpmd sends by its last port, read from a pipe that is then closed."""
    pipe = directory / "out.pcap"
    os.mkfifo(pipe)
    path = FOLDER / "testpmd" / f"{command_file}.cmd"
    arguments = " ".join(re.findall(r"^#:(.*)$", path.read_text(), re.MULTILINE)).split()
    line = ["dpdk-testpmd", "-l", "0,1", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "256"]
    line += [f"--vdev={device}" for device in devices] + [f"--vdev=net_pcap9,tx_pcap={pipe}", "--"]
    line += [*arguments, f"--cmdline-file={path}", "--total-num-mbufs=8192", "--stats-period=1"]
    log_path = directory / "testpmd.log"
    with (
        log_path.open("w") as log,
        subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT) as testpmd,
    ):
        try:
            with pipe.open("rb") as file:
                frames = list(itertools.islice(records(file), count))
        finally:
            testpmd.kill()
    text = log_path.read_text()
    assert len(frames) == count, text
    assert "Bad arguments" not in text and "Command not found" not in text, text
    return frames


def described(frames):
    """The fields that all frames share, and the sources of their flows."""
    common, flows = set(), set()
    for frame in map(Ether, frames):
        ip = frame.payload
        common.add((frame.dst, ip.dst, type(ip.payload), ip.payload.dport, len(frame)))
        flows.add((ip.src, ip.payload.sport))
    return common, flows


def test_udp_of_many_flows(tmp_path):
    common, flows = described(sent(tmp_path, "udp", 4000))
    assert common == {(MAC, "198.19.0.10", UDP, 53, 60)}
    # DPDK 22.11 has a source address for each, 24.11 a source port.
    ports = {("198.18.0.1", 0xC001 + 256 * n) for n in range(64)}
    assert flows == ports or (len(flows) == 256 and {port for _, port in flows} == {1024})


def test_udp_of_one_flow(tmp_path):
    common, flows = described(sent(tmp_path, "udp-constant", 2000))
    assert common == {(MAC, "198.19.0.10", UDP, 53, 60)}
    assert flows == {("198.18.0.1", 1024)}


def test_flowgen_has_an_address_for_each_flow(tmp_path):
    common, flows = described(sent(tmp_path, "flowgen", 2048))
    assert {(mac, kind, port, length) for mac, _, kind, port, length in common} == {("00:01:02:03:04:01", UDP, 1001, 60)}
    assert {address for _, address, *_ in common} == {f"10.253.{n // 256}.{n % 256}" for n in range(1024)}
    assert flows == {("10.254.0.0", 1000)}


def test_a_replay_is_the_capture_again_and_again(tmp_path):
    frames = capture.frames("imix", 96)
    capture.write("imix", tmp_path / "in.pcap", 96)
    got = sent(tmp_path, "replay", 300, [f"net_pcap0,rx_pcap={tmp_path / 'in.pcap'},infinite_rx=1"])
    # testpmd first discards received packets, so forwarding may begin at any frame.
    begin = frames.index(got[0])
    assert got == (frames * 5)[begin : begin + 300]


def wire(frame):
    return max(len(frame), 60) + 4


@pytest.mark.parametrize("profile, flags", (("flows", "A"), ("syn", "S")))
def test_captures_of_many_flows(profile, flags):
    frames = [Ether(frame) for frame in capture.frames(profile, 1500)]
    assert {(f.dst, f[IP].dst, f[TCP].dport, str(f[TCP].flags), wire(f)) for f in frames} == {
        (MAC, "203.0.113.10", 80, flags, 64)
    }
    assert len({(f[IP].src, f[TCP].sport) for f in frames}) == 1500


def test_clients_are_all_different():
    assert len({capture.client(number, version) for version in (4, 6) for number in range(200_000)}) == 400_000


def test_capture_of_one_flow():
    assert len(set(capture.frames("constant", 100))) == 1


def test_capture_of_imix():
    sizes = [wire(frame) for frame in capture.frames("imix", 1200)]
    assert {size: sizes.count(size) for size in set(sizes)} == {64: 700, 594: 400, 1518: 100}


def test_capture_of_ipv6():
    frames = [Ether(frame) for frame in capture.frames("ipv6", 500, "02:00:00:00:00:42")]
    assert {(f.dst, f[IPv6].dst, f[TCP].dport, wire(f)) for f in frames} == {
        ("02:00:00:00:00:42", "2001:db8:f::10", 80, 78)
    }
    assert len({(f[IPv6].src, f[TCP].sport) for f in frames}) == 500


def test_capture_of_fragments():
    frames = [Ether(frame)[IP] for frame in capture.frames("fragments", 300)]
    assert len(frames) == 300
    datagrams = list(defragment(frames))
    assert len(datagrams) == 100
    assert {(len(UDP(bytes(d.payload))), UDP(bytes(d.payload)).dport) for d in datagrams} == {(1200, 53)}


FLOWS = {"flows": 1200, "constant": 1, "imix": 1200, "ipv6": 1200, "fragments": 400, "udp-constant": 1, "flowgen": 1024}
# By DPDK 22.11 and by 24.11.
UDP_FLOWS = (256, 64)


@pytest.mark.parametrize("profile", [*FLOWS, "udp", "syn"])
def test_through_the_appliance(profile):
    """Every packet is forwarded unless the return path is full, and the number of flows is right."""
    line = [sys.executable, str(FOLDER / "memif.py"), profile, "--seconds", "0.1"]
    environment = {**os.environ, "GUIDEWAY_BIN_DIR": str(binaries.directory())}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    counts = {name: int(count.replace(",", "")) for name, count in
              re.findall(r"^(?:verdict|event) +(\w+) +([\d,]+)$", done.stdout, re.MULTILINE)}
    assert counts["forwarded"] > 1000, done.stdout
    assert done.stdout.count("load average") == 2
    assert float(re.search(r"median.* ([\d,]+)$", done.stdout, re.MULTILINE)[1].replace(",", "")) > 0
    # The ports are down until testpmd connects.
    known = {"forwarded", "tx_full", "flow_hit", "flow_new", "fragment_waited", "flow_table_full"}
    # The testpmd that ends takes the link with it, and what is under way then.
    known |= {"link_down", "next_hop_unresolved"}
    if profile == "syn":
        assert counts["flow_new"] <= 64 and counts["flow_table_full"] > 10 * counts["flow_new"], done.stdout
    else:
        assert counts["flow_new"] in (UDP_FLOWS if profile == "udp" else (FLOWS[profile],)), done.stdout
        known.remove("flow_table_full")
    assert set(counts) <= known, done.stdout
