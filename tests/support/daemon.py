"""`guideway run`, and `guidewayctl` to control it."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from . import binaries
from .config import one_port

START_SECONDS = 20
STOP_SECONDS = 10


def cpus(count):
    """CPUs for workers, the last CPU first: the first CPU serves most interrupts."""
    usable = sorted(os.sched_getaffinity(0), reverse=True)
    return [usable[n % len(usable)] for n in range(count)]


def control(directory):
    """The section `[control]` of a daemon that has the directory for itself."""
    return {"socket": str(directory / "guideway.sock"), "state_directory": str(directory / "state")}


def live(config, interface, directory, workers=1):
    """A configuration adapted to a veth end."""

    def change(config):
        # The tests themselves run on the workers' CPUs.
        config["dpdk"] = {"workers": cpus(workers), "hugepages": False, "memory": 256, "idle": "pause"}
        config["control"] = control(directory)
        config["port"][0]["device"] = f"net_af_packet0,iface={interface}"

    return config.changed(change)


def live_one_port(interface, directory, workers=1):
    return live(one_port(), interface, directory, workers)


class Daemon:
    """The appliance in a namespace: started on entry, and ended on exit if it still runs."""

    def __init__(self, namespace, config, directory):
        self.namespace = namespace
        self.config = config
        self.directory = directory
        self.path = directory / "guideway.toml"
        self.socket = directory / "guideway.sock"
        self.log_path = directory / "guideway.log"
        self.process = None

    def line(self):
        """The command line, to run in the namespace."""
        return [binaries.guideway(), "run", "--config", self.path]

    def launch(self):
        """Starts the program without waiting for it."""
        self.config.write(self.path)
        line = self.namespace.command(*self.line())
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT, cwd=self.directory)

    def __enter__(self):
        self.launch()
        end = time.monotonic() + START_SECONDS
        while self.ctl("status").returncode != 0:
            assert self.process.poll() is None, f"the daemon ended: {self.log()}"
            assert time.monotonic() < end, f"the daemon does not respond: {self.log()}"
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise

    def log(self):
        return self.log_path.read_text()

    def stop(self, number=signal.SIGTERM):
        """Sends a signal that ends the daemon. Returns the exit code and the seconds until the end."""
        begin = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(STOP_SECONDS)
        return code, time.monotonic() - begin

    def ctl(self, *arguments, output="json", stdin=None):
        line = [str(binaries.guidewayctl()), "--socket", str(self.socket), "-o", output, *map(str, arguments)]
        return subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=30)

    def ask(self, *arguments):
        """The JSON that a command prints. The command must succeed."""
        done = self.ctl(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def threads(self, name):
        """The ids of the daemon's threads of this name. `ip netns exec` replaces itself by the program."""
        found = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            # Threads come and go.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if (task / "comm").read_text().strip() == name:
                    found.append(int(task.name))
        return found

    def generation(self):
        return self.ask("status")["generation"]

    def wait_for_generation(self, generation):
        """Waits until every worker uses the generation."""
        end = time.monotonic() + 10
        while self.ask("status")["generation_in_force"] < generation:
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def wait_for_log(self, words, since=0):
        end = time.monotonic() + 10
        while words not in self.log()[since:]:
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def stats_at_rest(self):
        """The counters, once they have stopped changing."""
        before = None
        for _ in range(100):
            stats = self.ask("stats")
            if stats == before:
                return stats
            before = stats
            time.sleep(0.05)
        raise AssertionError("packets keep coming")
