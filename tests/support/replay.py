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
    """What a run left behind."""

    returncode: int
    stdout: str
    stderr: str
    files: dict  # port -> bytes of its output capture; none where there is no file

    @property
    def report(self):
        """The JSON object on stdout."""
        return json.loads(self.stdout)

    @property
    def verdicts(self):
        """Verdicts that happened."""
        return {name: count for name, count in self.report["verdicts"].items() if count}

    def frames(self, port="edge0"):
        return [frame for _, frame in parse_pcap(self.files[port])]


def pcap(records, linktype=ETHERNET):
    """A capture of (seconds, frame) records, seconds counted from START; or of bare frames, a
    millisecond apart."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype)]
    for index, record in enumerate(records):
        seconds, frame = record if isinstance(record, tuple) else (index / 1000, record)
        micros = round((START + seconds) * 1_000_000)
        out.append(struct.pack("<IIII", micros // 1_000_000, micros % 1_000_000, len(frame), len(frame)))
        out.append(frame)
    return b"".join(out)


def parse_pcap(data):
    """(Time stamp as it stands, frame) of each record."""
    magic, *_, linktype = struct.unpack_from("<IHHiIII", data)
    assert magic in (0xA1B2C3D4, 0xA1B23C4D), f"magic {magic:x}"
    assert linktype == ETHERNET
    records, place = [], 24
    while place < len(data):
        seconds, fraction, captured, length = struct.unpack_from("<IIII", data, place)
        assert captured == length, "a frame was cut"
        place += 16
        assert place + captured <= len(data), "the capture ends inside a frame"
        records.append(((seconds, fraction), data[place : place + captured]))
        place += captured
    return records


def command(program, directory, ports, arguments=()):
    line = [str(program), "replay", "--config", str(directory / "guideway.toml")]
    for port in ports:
        line += ["--rx", f"{port}={directory / (port + '.in.pcap')}"]
        line += ["--tx", f"{port}={directory / (port + '.out.pcap')}"]
    return [*line, "--json", *arguments]


def run(directory, config, captures, arguments=(), program=None, prefix=()):
    """Replays `captures`, records by port, through a configuration. `prefix`: what to run it under."""
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
    """As `run`; the run succeeds, and every packet received has one verdict."""
    outcome = run(*args, **kwargs)
    assert outcome.returncode == 0, outcome.stderr
    assert "damaged" not in outcome.stderr
    report = outcome.report
    assert report["received"] == sum(report["verdicts"].values()), report
    sent = sum(len(outcome.frames(port)) for port in outcome.files)
    assert report["transmitted"] == sent, report
    return outcome
