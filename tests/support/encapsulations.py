"""The names of all encapsulations, from the programs themselves, for tests that have a row for each."""

import re
import subprocess
import tempfile
from pathlib import Path

from . import binaries
from .config import one_port

LAB_OPTIONS = binaries.ROOT / "ci" / "lab" / "options.sh"


def of_forwarder():
    """The forwarder's encapsulations, in its order: `guideway check` lists them for an unknown name."""
    config = one_port().changed(lambda config: config["pool"][0].update(encapsulation="?"))
    with tempfile.TemporaryDirectory() as directory:
        path = config.write(Path(directory) / "guideway.toml")
        done = subprocess.run([binaries.guideway(), "check", "--config", path], capture_output=True, text=True, timeout=30)
    listed = re.search(r'pool\[0\]\.encapsulation.* is the string "\?"; expected (.*)', done.stdout + done.stderr)
    assert listed, done.stdout + done.stderr
    return re.findall(r'"([^"]+)"', listed[1])


def of_agent():
    """The agent's encapsulations, in its order: the agent lists them for an unknown name."""
    line = [binaries.directory() / "guideway-agent", "--encapsulation", "?"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    listed = re.search(r": there are ([^;]*);", done.stderr)
    assert listed, done.stderr
    return listed[1].split()


def of_lab():
    """The encapsulations that `ci/lab.sh --encapsulation` accepts, in its order."""
    listed = re.search(r"^known_encapsulations=\((.*)\)$", LAB_OPTIONS.read_text(), re.MULTILINE)
    return listed[1].split()


def assert_rows(rows, names, table):
    """Asserts that the table has a row for each name, and no other row."""
    missing = [name for name in names if name not in rows]
    assert not missing, f"{table} has no row for the encapsulation {', '.join(missing)}"
    unknown = [name for name in rows if name not in names]
    assert not unknown, f"{table} has a row for {', '.join(unknown)}, which is no encapsulation"
