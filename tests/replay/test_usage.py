"""The arguments and files of `guideway replay`, and its messages about wrong ones."""

import os
import shutil
import stat
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import binaries, replay
from support.config import one_port, two_ports
from support.packets import client_packet, flow

FRAME = client_packet(flow()).frame
NOBODY = 65534


def call(directory, *arguments):
    line = [str(binaries.guideway()), "replay", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=replay.TIMEOUT, cwd=directory)


@pytest.fixture
def workdir(tmp_path):
    """A directory with a valid configuration and capture."""
    one_port(interface="edge0").write(tmp_path / "guideway.toml")
    (tmp_path / "in.pcap").write_bytes(replay.pcap([FRAME]))
    return tmp_path


def refused(done, *messages, codes=(1, 2)):
    assert done.returncode in codes, done.stderr
    assert "panicked" not in done.stderr
    for message in messages:
        assert message in done.stderr, done.stderr
    assert done.stdout == ""


def test_an_unknown_port(workdir):
    refused(call(workdir, "--config", "guideway.toml", "--rx", "edge7=in.pcap", "--tx", "edge0=out.pcap"), "edge7")
    refused(call(workdir, "--config", "guideway.toml", "--rx", "edge0=in.pcap", "--tx", "core9=out.pcap"), "core9")


def test_a_port_without_interface_has_no_punted_frames(workdir):
    captures = ("--rx", "edge0=in.pcap", "--punt")
    refused(call(workdir, "--config", "guideway.toml", *captures, "edge7=out.pcap"), "no port \"edge7\"")
    refused(call(workdir, "--config", "guideway.toml", *captures, "edge0"), "takes PORT=FILE")
    refused(call(workdir, "--config", "guideway.toml", *captures, "edge0=nowhere/out.pcap"), "nowhere/out.pcap")
    one_port(interface="none").write(workdir / "guideway.toml")
    refused(call(workdir, "--config", "guideway.toml", *captures, "edge0=out.pcap"), "interface = \"none\"")


def test_no_capture_at_all(workdir):
    refused(call(workdir, "--config", "guideway.toml"), "--rx", codes=(2,))


@pytest.mark.parametrize("argument", ("edge0", "=in.pcap", "edge0="))
def test_an_argument_that_names_no_port_or_no_file(workdir, argument):
    refused(call(workdir, "--config", "guideway.toml", "--rx", argument, "--tx", "edge0=out.pcap"))


def test_a_port_named_twice(workdir):
    arguments = ("--rx", "edge0=in.pcap", "--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap")
    refused(call(workdir, "--config", "guideway.toml", *arguments), "edge0")


def test_an_output_that_is_another_file_of_the_call(workdir):
    """Neither an input nor another output is overwritten, even under another name."""
    two_ports().changed(lambda config: config["port"][0].update(interface="edge0")).write(workdir / "guideway.toml")
    (workdir / "link.pcap").symlink_to("in.pcap")
    before = (workdir / "in.pcap").read_bytes()
    for captures in (
        ("--rx", "edge0=in.pcap", "--tx", "edge0=in.pcap"),
        ("--rx", "edge0=in.pcap", "--tx", "core0=link.pcap"),
        ("--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap", "--tx", "core0=./out.pcap"),
        ("--rx", "edge0=in.pcap", "--punt", "edge0=link.pcap"),
        ("--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap", "--punt", "edge0=./out.pcap"),
    ):
        done = call(workdir, "--config", "guideway.toml", *captures)
        assert (workdir / "in.pcap").read_bytes() == before
        refused(done, captures[-1].split("=")[1])


def test_captures_with_odd_names(workdir):
    for name in ("a,b=c.pcap", "with space.pcap", "-dash.pcap", "ünïcode.pcap"):
        (workdir / name).write_bytes((workdir / "in.pcap").read_bytes())
        done = call(workdir, "--config", "guideway.toml", "--rx", f"edge0={name}", "--tx", f"edge0=out {name}")
        assert done.returncode == 0, done.stderr
        assert len(replay.parse_pcap((workdir / f"out {name}").read_bytes())) == 1


def test_a_missing_capture(workdir):
    refused(call(workdir, "--config", "guideway.toml", "--rx", "edge0=gone.pcap", "--tx", "edge0=out.pcap"), "gone.pcap")


@pytest.mark.parametrize("content", (b"", b"this is no capture, but long enough to hold a header\n", b"\xd4\xc3\xb2\xa1"))
def test_a_file_that_is_no_capture(workdir, content):
    (workdir / "in.pcap").write_bytes(content)
    refused(call(workdir, "--config", "guideway.toml", "--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap"), "in.pcap")


def test_a_capture_of_another_link_type(workdir):
    (workdir / "in.pcap").write_bytes(replay.pcap([FRAME[14:]], linktype=101))
    done = call(workdir, "--config", "guideway.toml", "--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap")
    refused(done, "in.pcap", "Ethernet")


def test_an_output_that_cannot_be_written(workdir):
    done = call(workdir, "--config", "guideway.toml", "--rx", "edge0=in.pcap", "--tx", "edge0=nowhere/out.pcap")
    refused(done, "nowhere/out.pcap")


def test_a_capture_that_ends_inside_a_record(workdir):
    """The whole records are replayed, and the missing one is reported."""
    (workdir / "in.pcap").write_bytes(replay.pcap([FRAME] * 3)[:-10])
    done = call(workdir, "--config", "guideway.toml", "--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap", "--json")
    assert "in.pcap" in done.stderr, done.stderr
    assert "panicked" not in done.stderr


def test_a_configuration_with_mistakes(workdir):
    config = one_port().changed(lambda c: c["hash"].update(key="12", table_size=100))
    config.write(workdir / "guideway.toml")
    done = call(workdir, "--config", "guideway.toml", "--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap")
    refused(done, "hash.key", "hash.table_size", codes=(1,))


def test_a_missing_configuration(workdir):
    refused(call(workdir, "--config", "gone.toml", "--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap"), "gone.toml")


def test_without_json_the_counts_are_for_people(workdir):
    done = call(workdir, "--config", "guideway.toml", "--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap")
    assert done.returncode == 0, done.stderr
    assert "forwarded" in done.stdout and "1" in done.stdout


def test_captures_that_other_tools_write(workdir):
    """The other byte order, nanosecond time stamps, pcapng."""
    micro = struct.pack(">IHHiIIIIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1, 1, 2, len(FRAME), len(FRAME)) + FRAME
    nano = struct.pack("<IHHiIIIIIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1, 1, 999_999_999, len(FRAME), len(FRAME)) + FRAME
    block = struct.pack("<IIIII", 0, 0, 1, len(FRAME), len(FRAME)) + FRAME + bytes(-len(FRAME) % 4)
    blocks = ((0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)), (1, struct.pack("<HHI", 1, 0, 0)), (6, block))
    pcapng = b"".join(
        struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12) for kind, body in blocks
    )
    for capture in (micro, nano, pcapng):
        (workdir / "in.pcap").write_bytes(capture)
        done = call(workdir, "--config", "guideway.toml", "--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap")
        assert done.returncode == 0, done.stderr
        assert len(replay.parse_pcap((workdir / "out.pcap").read_bytes())) == 1


@pytest.mark.parametrize("order", "<>")
def test_packets_truncated_by_a_snap_length(workdir, order):
    """pcap and pcapng, with one section and with two: three whole packets and two truncated ones."""
    kept = FRAME[:40]

    def record(data):
        return struct.pack(order + "IIII", 1, 1, len(data), len(FRAME)) + data

    def block(kind, body):
        body += bytes(-len(body) % 4)
        size = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + size + body + size

    packets = [FRAME, kept, FRAME, kept, FRAME]
    pcap = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 40, 1) + b"".join(map(record, packets))
    head = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    head += block(1, struct.pack(order + "HHI", 1, 0, 0))
    enhanced = b"".join(block(6, struct.pack(order + "I", 0) + record(data)) for data in packets)
    for capture, truncated in ((pcap, 2), (head + enhanced, 2), (head + enhanced + head + enhanced, 4), (pcap[:-1], 2)):
        (workdir / "in.pcap").write_bytes(capture)
        done = call(workdir, "--config", "guideway.toml", "--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap")
        assert f"a snap length truncated {truncated} of the packets" in done.stderr, done.stderr
    (workdir / "in.pcap").write_bytes(replay.pcap([FRAME]))
    done = call(workdir, "--config", "guideway.toml", "--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap")
    assert "snap length" not in done.stderr


@pytest.mark.parametrize("clock", ("wall", "capture"))
@pytest.mark.parametrize("full", ("temporary", "target"))
def test_a_full_disk(workdir, clock, full):
    """Frames that do not fit on the disk are an error, and not a short file."""
    (workdir / "in.pcap").write_bytes(replay.pcap([FRAME] * 5000))
    small = workdir / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    try:
        output = workdir / "out.pcap" if full == "temporary" else small / "out.pcap"
        line = [str(binaries.guideway()), "replay", "--config", "guideway.toml", "--rx", "edge0=in.pcap"]
        line += ["--tx", f"edge0={output}", "--clock", clock]
        environment = os.environ | ({"TMPDIR": str(small)} if full == "temporary" else {})
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=replay.TIMEOUT, cwd=workdir, env=environment
        )
        messages = ("of the 5000 frames", "TMPDIR") if full == "temporary" else ("No space left",)
        refused(done, str(output), *messages, codes=(1,))
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_real_clock(run_replay):
    outcome = run_replay(one_port(), [(0, FRAME), (10_000, FRAME)], "--clock", "wall")
    assert outcome.report["events"]["flow_new"] == 1, "the two are milliseconds apart by that clock"


def test_a_port_without_captures(workdir):
    """A port of the configuration that no argument names receives nothing."""
    two_ports().changed(lambda config: config["port"][0].update(interface="edge0")).write(workdir / "guideway.toml")
    for captures in (
        ("--rx", "edge0=in.pcap"),
        ("--rx", "edge0=in.pcap", "--tx", "edge0=out.pcap"),
        ("--rx", "edge0=in.pcap", "--tx", "core0=out.pcap"),
        ("--rx", "core0=in.pcap", "--tx", "edge0=out.pcap"),
    ):
        done = call(workdir, "--config", "guideway.toml", *captures, "--json")
        assert done.returncode == 0, done.stderr
        assert '"received": 1' in done.stdout


def test_anyone_may_replay():
    """Replay needs no root, no huge pages and no home directory."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        program = Path(shutil.copy(binaries.guideway(), directory / "guideway"))
        program.chmod(program.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
        prefix = ()
        if os.geteuid() == 0:
            os.chown(directory, NOBODY, NOBODY)
            drop = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--no-new-privs"]
            prefix = ("env", "-i", "PATH=/usr/bin:/bin", "setpriv", *drop)
        outcome = replay.run_ok(directory, one_port(), {"edge0": [FRAME] * 5}, (), program, prefix)
    assert outcome.verdicts == {"forwarded": 5}
