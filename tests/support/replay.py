"""`guideway replay`: captures in, captures and counts out."""

import json
import struct
import subprocess
from dataclasses import dataclass

from . import binaries

START = 1_700_000_000
ETHERNET = 1
TIMEOUT = 60


@dataclass(frozen=True)
class Outcome:
    """The results of a run."""

    returncode: int
    stdout: str
    stderr: str
    files: dict  # port -> bytes of its output capture; None where there is no file

    @property
    def report(self):
        """The JSON object on stdout."""
        return json.loads(self.stdout)

    @property
    def verdicts(self):
        """The verdicts whose count is not zero."""
        return {name: count for name, count in self.report["verdicts"].items() if count}

    def frames(self, port="edge0"):
        return [frame for _, frame in parse_pcap(self.files[port])]


def pcap(records, linktype=ETHERNET):
    """A capture of (seconds since START, frame) records, or of bare frames a millisecond apart."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype)]
    for index, record in enumerate(records):
        seconds, frame = record if isinstance(record, tuple) else (index / 1000, record)
        micros = round((START + seconds) * 1_000_000)
        out.append(struct.pack("<IIII", micros // 1_000_000, micros % 1_000_000, len(frame), len(frame)))
        out.append(frame)
    return b"".join(out)


def parse_pcap(data):
    """The records of a capture: the time stamp as (seconds, fraction) and the frame."""
    magic, *_, linktype = struct.unpack_from("<IHHiIII", data)
    assert magic in (0xA1B2C3D4, 0xA1B23C4D), f"magic {magic:x}"
    assert linktype == ETHERNET
    records, offset = [], 24
    while offset < len(data):
        seconds, fraction, captured, length = struct.unpack_from("<IIII", data, offset)
        assert captured == length, "a frame is truncated"
        offset += 16
        assert offset + captured <= len(data), "the capture ends inside a frame"
        records.append(((seconds, fraction), data[offset : offset + captured]))
        offset += captured
    return records


def command(program, directory, ports, arguments=()):
    line = [str(program), "replay", "--config", str(directory / "guideway.toml")]
    for port in ports:
        line += ["--rx", f"{port}={directory / (port + '.in.pcap')}"]
        line += ["--tx", f"{port}={directory / (port + '.out.pcap')}"]
    return [*line, "--json", *arguments]


def run(directory, config, captures, arguments=(), program=None, prefix=()):
    """Replays `captures`, records by port, through a configuration. `prefix`: a command to run it under."""
    config.write(directory / "guideway.toml")
    for port, records in captures.items():
        (directory / f"{port}.in.pcap").write_bytes(pcap(records))
        (directory / f"{port}.out.pcap").unlink(missing_ok=True)
    line = [*prefix, *command(program or binaries.guideway(), directory, captures, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, cwd=directory)
    files = {}
    for port in captures:
        path = directory / f"{port}.out.pcap"
        files[port] = path.read_bytes() if path.exists() else None
    return Outcome(done.returncode, done.stdout, done.stderr, files)


def run_ok(*args, **kwargs):
    """Calls `run`. The run must succeed, and every received packet must have one verdict."""
    outcome = run(*args, **kwargs)
    assert outcome.returncode == 0, outcome.stderr
    assert "damaged" not in outcome.stderr
    report = outcome.report
    assert report["received"] == sum(report["verdicts"].values()), report
    sent = sum(len(outcome.frames(port)) for port in outcome.files)
    assert report["transmitted"] == sent, report
    return outcome
