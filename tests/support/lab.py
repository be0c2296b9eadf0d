"""The lab of ci/lab.sh, up while a `with` block runs."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import binaries
from .network import Namespace

SCRIPT = binaries.ROOT / "ci" / "lab.sh"
SERVERS = ("s1", "s2", "s3")


class Lab:
    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        # The path must be short, because sockets are in this directory.
        self._made = tempfile.mkdtemp(prefix="gw-lab-")
        self.directory = Path(self._made) / "lab"
        self._script("up", "--bin", binaries.directory(), *self.options)
        lines = shlex.split((self.directory / "lab.env").read_text())
        self.environment = dict(line.split("=", 1) for line in lines)
        return self

    def __exit__(self, *_):
        # If this fails, the directory stays and its files show how to take the lab down by hand.
        self._script("down")
        shutil.rmtree(self._made)

    def _script(self, action, *arguments):
        line = [str(SCRIPT), action, "--dir", str(self.directory), *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def ready(self):
        """Waits until a forwarder that the test has started knows the servers."""
        self._script("ready", "--bin", binaries.directory())

    def namespace(self, name):
        """One of the lab's namespaces."""
        return Namespace(self.environment[f"LAB_NS_{name.upper()}"])

    def run(self, namespace, *line, timeout=120):
        """Runs a command in a namespace and returns its result."""
        line = [str(SCRIPT), "exec", "--dir", str(self.directory), namespace, *map(str, line)]
        return subprocess.run(line, capture_output=True, text=True, timeout=timeout)

    def start(self, namespace, *line):
        """Starts a command in a namespace, with pipes to and from it."""
        line = [str(SCRIPT), "exec", "--dir", str(self.directory), namespace, *map(str, line)]
        pipe = subprocess.PIPE
        return subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True)

    def configuration(self):
        """The forwarder's configuration as text."""
        return Path(self.environment["LAB_CONFIG"]).read_text()

    def apply(self, text):
        """Applies a configuration."""
        path = self.directory / "applied.toml"
        path.write_text(text)
        self.ctl("config", "apply", path)

    def drive(self, *arguments, timeout=120):
        """Makes real connections from the clients. Returns the figures of ci/lab/drive.py."""
        weights = [word for server in SERVERS for word in ("--weight", f"{server}=1")]
        # ci/run.sh checks the shares, with enough connections for that.
        line = (SCRIPT.parent / "lab" / "drive.py", "--json", "--tolerance", 1000, *weights, *arguments)
        done = self.run("clients", *line, timeout=timeout)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def ctl(self, *arguments):
        line = (binaries.guidewayctl(), "--socket", self.environment["LAB_SOCKET"], "-o", "json", *arguments)
        done = self.run("lb", *line)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def agent(self, server):
        """The counters of a server's agent."""
        log = self.directory / f"{server}.agent.log"
        before = len(log.read_text())
        pid = (self.directory / f"{server}.agent.pid").read_text().split()[0]
        subprocess.run(["kill", f"-{signal.SIGUSR1.value}", pid], check=True, timeout=10)
        end = time.monotonic() + 5
        while not (line := log.read_text()[before:]).endswith("\n"):
            assert time.monotonic() < end, line
            time.sleep(0.02)
        return {name: int(value) for name, value in re.findall(r"(\S+)=(\d+)", line)}
