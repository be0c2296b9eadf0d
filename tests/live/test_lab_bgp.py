"""The lab of `make lab-bgp`: it comes up, does what it says, and leaves nothing."""

import subprocess
import tempfile
from pathlib import Path

import pytest
from support import binaries
from support.hosts import wait_until

SCRIPT = binaries.ROOT / "ci" / "lab-bgp.py"
VIPS = ("203.0.113.10", "[2001:db8:f::10]")


def script(action, directory, *options):
    line = [SCRIPT, action, "--dir", directory, *options]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def client(*line):
    return subprocess.run(["ip", "netns", "exec", "gw-bgp-client", *line], capture_output=True, text=True, timeout=30)


def remains():
    """Namespaces and processes of the lab."""
    names = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    found = [name for name in names.split() if name.startswith("gw-bgp-")]
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [line] if b"/gw-lab-bgp-" in line.read_bytes() else []
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.parametrize("router", ("bird", "frr"))
def test_the_lab(root, router):
    with tempfile.TemporaryDirectory(prefix="gw-lab-bgp-") as made:
        directory = Path(made) / "lab"
        # FRR's programs enter theirs as their own user.
        Path(made).chmod(0o755)
        code, said = script("up", directory, "--router", router, "--bin", binaries.directory())
        assert code == 0, said
        try:
            assert "203.0.113.10" in said and "established" in said and "Take it down" in said
            for vip in VIPS:
                done = client("curl", "-sS", "--max-time", "5", f"http://{vip}/")
                assert done.stdout in ("s1\n", "s2\n", "s3\n"), done.stderr
            # Another is refused while this one is up.
            assert script("up", directory)[0] != 0
            ask = directory / "lb1" / "guidewayctl"
            for words in ("status", "vip list", "bgp list", "node show", "check list", "check run page/s1"):
                subprocess.run([ask, *words.split()], check=True, capture_output=True, timeout=30)
            forwarder = pid(f"{binaries.guideway()}\0run\0--config\0{directory}/lb1/")
            subprocess.run(["kill", "-9", str(forwarder)], check=True)
            if router == "bird":
                # It starts again by itself.
                wait_until(lambda: subprocess.run([ask, "status"], capture_output=True, timeout=30).returncode == 0, 20)
        finally:
            code, said = script("down", directory)
        assert code == 0, said
        assert not remains()


def pid(begin):
    """The process whose command line begins so."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if line.read_bytes().startswith(begin.encode()):
                return int(line.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise AssertionError(f"no process {begin}")
