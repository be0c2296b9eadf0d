"""Shared by the parts that start programs: processes, hugepages, statistics, and the result's format."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from sample import median, spread

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
HUGEPAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
MIB_A_PAGE = 2
START_SECONDS = 30
STOP_SECONDS = 15


def progress(text):
    """Prints progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def die(text):
    sys.exit(f"{Path(sys.argv[0]).name}: {text}")


def load_average():
    return float(Path("/proc/loadavg").read_text().split()[0])


def machine():
    """The CPU, with its generation by CPUID: the name in a virtual machine often hides that."""
    fields = dict(re.findall(r"^(.+?)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    name, family, model = (fields.get(name, "unknown") for name in ("model name", "cpu family", "model"))
    return {"cpu": f"{name} (family {family}, model {model}), {os.cpu_count()} CPUs"}


def program(name):
    """The path of a program of the release build."""
    path = BIN / name
    if not path.exists():
        die(f"{path} does not exist; run ci/build.sh")
    return path


def two_cpus():
    """A CPU for management and one for forwarding. The first CPU serves the most interrupts."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        die("needs two CPUs, but may use only one")
    return usable[0], usable[-1]


def claim(text, bound, target, unit, values):
    """A claim about the median of some values."""
    measured = round(median(values), 3)
    met = measured <= target if bound == "at most" else measured >= target
    return {"claim": text, "bound": bound, "target": target, "unit": unit, "measured": measured,
            "spread": round(spread(values), 4), "met": met}


def print_part(name, before, tables, claims, **environment):
    """Prints the result in the format of report.py."""
    part = {"part": name, "load": [before, load_average()], "machine": {**machine(), **environment},
            "tables": tables, "claims": claims}
    print(json.dumps(part))


class Hugepages:
    """Reserves so many MiB of hugepages if they are not free, and releases them on exit.

    `granted` is false if they cannot be reserved: then all programs run without hugepages. A second run waits
    until the first one ends, for a page that is free may be one that the first run is about to use.
    """

    def __init__(self, mib):
        self.pages = mib // MIB_A_PAGE
        self.added = 0
        self.granted = False
        self.lock = None

    def _read(self, name):
        return int((HUGEPAGES / name).read_text())

    def _add(self, pages):
        """Adds to the current number, because other programs may have changed it."""
        (HUGEPAGES / "nr_hugepages").write_text(str(self._read("nr_hugepages") + pages))

    def _wait_for_other_runs(self):
        self.lock = (HUGEPAGES / "nr_hugepages").open()
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another run that uses hugepages")
            fcntl.flock(self.lock, fcntl.LOCK_EX)

    def __enter__(self):
        try:
            self._wait_for_other_runs()
            before = self._read("nr_hugepages")
            missing = self.pages - self._read("free_hugepages")
            if missing > 0:
                self._add(missing)
                self.added = self._read("nr_hugepages") - before
            self.granted = self._read("free_hugepages") >= self.pages
        except OSError as error:
            progress(f"hugepages cannot be reserved: {error}")
        if not self.granted:
            progress("no hugepages: all programs run without")
        return self

    def __exit__(self, *_):
        if self.added > 0:
            self._add(-self.added)
        if self.lock:
            self.lock.close()

    def __str__(self):
        return "hugepages of 2 MiB" if self.granted else "no hugepages"


class Process:
    """A program that is ended on exit, by its id. Its output is in a file."""

    def __init__(self, line, log, **options):
        self.line = [str(word) for word in line]
        self.log_path = log
        self.options = options

    def __enter__(self):
        with self.log_path.open("w") as log:
            self.child = subprocess.Popen(self.line, stdout=log, stderr=subprocess.STDOUT, **self.options)
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            # A stopped process handles SIGTERM only after SIGCONT.
            self.child.terminate()
            self.child.send_signal(signal.SIGCONT)
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_for(self, words, since=0, seconds=START_SECONDS):
        """Waits until the program has printed `words` after offset `since`. Returns all its output."""
        end = time.monotonic() + seconds
        while words not in (log := self.log())[since:]:
            if self.child.poll() is not None:
                die(f"{self.line[0]} ended with status {self.child.returncode}:\n{log}")
            if time.monotonic() > end:
                die(f"{self.line[0]} did not print {words!r} within {seconds} s:\n{log}")
            time.sleep(0.002)
        return log


class Testpmd(Process):
    """dpdk-testpmd at its prompt."""

    PROMPT = "testpmd> "

    def __init__(self, directory, cpus, environment, arguments, name="testpmd"):
        main, worker = cpus
        # Without line buffering the prompt comes at once, but the output before it only when a buffer is full.
        line = ["stdbuf", "-oL", "dpdk-testpmd", f"--lcores=0@{main},1@{worker}", f"--file-prefix={name}-{os.getpid()}",
                "--no-pci", "--no-telemetry", *environment, "--", "-i", "--nb-cores=1", *arguments]
        super().__init__(line, directory / f"{name}.log", stdin=subprocess.PIPE, text=True, bufsize=1)

    def __enter__(self):
        super().__enter__()
        self.wait_for(self.PROMPT)
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            try:
                self.child.stdin.write("stop\nquit\n")
                self.child.wait(STOP_SECONDS)
            except (OSError, subprocess.TimeoutExpired):
                pass
        super().__exit__()

    def ask(self, command):
        """Runs a command. Returns its output."""
        before = len(self.log())
        self.child.stdin.write(command + "\n")
        return self.wait_for(self.PROMPT, before)[before:]

    def transmitted(self):
        """Packets that its port has accepted, and the time."""
        asked = time.monotonic()
        printed = self.ask("show port stats 0")
        found = re.search(r"TX-packets: (\d+)", printed)
        if not found:
            die(f"testpmd does not print its packets:\n{printed}")
        return int(found[1]), (asked + time.monotonic()) / 2


class Guideway(Process):
    """The appliance, with its control socket."""

    def __init__(self, directory, configuration):
        self.socket = directory / "guideway.sock"
        path = directory / "guideway.toml"
        path.write_text(configuration)
        super().__init__([program("guideway"), "run", "--config", path], directory / "guideway.log")

    def __enter__(self):
        super().__enter__()
        self.wait_for("ready; control socket")
        return self

    def stats(self):
        line = [program("guidewayctl"), "--socket", self.socket, "-o", "json", "stats"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            die(f"guidewayctl: {done.stderr}\n{self.log()}")
        return json.loads(done.stdout)

    def counted(self):
        """Its statistics, and the time."""
        asked = time.monotonic()
        stats = self.stats()
        return stats, (asked + time.monotonic()) / 2

    def transmitted(self):
        """Packets that the device has accepted, and the time."""
        stats, when = self.counted()
        return stats["transmitted"], when


def environment(hugepages, mib):
    """EAL arguments that give testpmd memory of the same kind as the appliance's."""
    return ["--in-memory"] if hugepages.granted else ["--no-huge", "--no-shconf", "-m", str(mib)]


MAC = "02:00:00:00:00:01"
SERVICE = ("203.0.113.10", "tcp", 80)


def port(device, name="edge0", mac=MAC, network="192.0.2"):
    """A port of the appliance, with a gateway."""
    return f"""[[port]]
name = "{name}"
device = "{device}"
interface = "none"
addresses = ["{network}.1/24"]
mac = "{mac}"
"""


def configuration(
    directory, cpu, hugepages, mib, ports, services=(SERVICE,), buffers=0, backends=100, encapsulation="gre"
):
    """One worker; the backends are behind a gateway at the last port."""
    members = ",\n".join(
        f'    {{ name = "b{n}", address = "10.0.{n // 250}.{1 + n % 250}" }}' for n in range(backends)
    )
    served = "".join(
        f"""[[service]]
name = "s{number}"
address = "{address}"
protocol = "{protocol}"
port = {at}
pool = "web"
"""
        for number, (address, protocol, at) in enumerate(services)
    )
    gateway = re.search(r"([0-9.]+)\.1/24", ports[-1])[1] + ".254"
    return f"""
[node]
name = "bench"
tunnel_source = ["192.0.2.1"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
[dpdk]
workers = [{cpu}]
hugepages = {str(hugepages.granted).lower()}
memory = {mib}
buffers = {buffers}
[control]
socket = "{directory}/guideway.sock"
state_directory = "{directory}/state"
{"".join(ports)}gateways = ["{gateway}"]
[[neighbor]]
address = "{gateway}"
mac = "02:00:00:00:00:fe"
[[pool]]
name = "web"
encapsulation = "{encapsulation}"
backends = [
{members}
]
{served}"""
