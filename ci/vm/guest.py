"""In the guest: its devices, its monitor, and the lab."""

import json
import subprocess
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DIRECTORY = Path("/run/guideway-lab")
PYTHON = "/usr/bin/python3"


def run(*words, timeout=120, check=True):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


class Guest:
    def __init__(self):
        # qemu sends a greeting when the port is opened, but possibly before.
        self._monitor = self._monitor_port().open("r+b", buffering=0)
        self._command("qmp_capabilities")

    @staticmethod
    def _monitor_port():
        for port in Path("/sys/class/virtio-ports").iterdir():
            if (port / "name").read_text().strip() == "monitor":
                return Path("/dev") / port.name
        raise FileNotFoundError("no serial port has the monitor")

    def _command(self, command, **arguments):
        self._monitor.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            line = b""
            while not line.endswith(b"\n"):
                line += self._monitor.read(1)
            response = json.loads(line)
            if "error" in response:
                raise RuntimeError(f"{command}: {response}")
            if "return" in response:
                return response["return"]

    def set_link(self, nic, up):
        """Plugs the cable of a card in, or unplugs it."""
        self._command("set_link", name=nic, up=up)

    def reserve(self, pages):
        Path("/proc/sys/vm/nr_hugepages").write_text(f"{pages}\n")
        assert self.huge_pages_free() == pages, "the guest has too little memory"

    def huge_pages_free(self):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("HugePages_Free"))

    def bind(self, address, driver):
        """Unbinds a PCI device from its driver, and binds it to `driver`."""
        device = Path("/sys/bus/pci/devices") / address
        if (device / "driver").exists():
            if (device / "driver").resolve().name == driver:
                return
            (device / "driver/unbind").write_text(address)
        (device / "driver_override").write_text(driver)
        Path("/sys/bus/pci/drivers_probe").write_text(address)
        assert (device / "driver").resolve().name == driver, f"{address} is not bound to {driver}"


class Lab:
    """ci/lab.sh, up for the length of a `with`. The log and the configuration stay, as KEEP.log and KEEP.toml.

    `refusal` is the reason if the forwarder did not start.
    """

    def __init__(self, options, keep):
        self.options = options
        self.keep = keep
        self.refusal = None
        self._stopped = None

    def __enter__(self):
        self._await_uplink()
        self._script("up", "--no-forwarder", *self.options, timeout=180)
        lines = (DIRECTORY / "lab.env").read_text().splitlines()
        self.environment = dict(line.split("=", 1) for line in lines)
        self.config = Path(self.environment["LAB_CONFIG"])
        self.keep.with_suffix(".toml").write_text(self.config.read_text())
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        self._script("down", check=False)
        self._await_uplink()

    @staticmethod
    def _script(*words, **options):
        return run(PROJECT / "ci/lab.sh", *words, **options)

    @staticmethod
    def _await_uplink():
        """Waits for the card, which returns when the kernel has removed its namespace."""
        end = time.monotonic() + 20
        while not Path("/sys/class/net/eth0").exists():
            assert time.monotonic() < end, "eth0 has not come back"
            time.sleep(0.1)

    def within(self, namespace, *words):
        """The command line, within a namespace of the lab."""
        return ["ip", "netns", "exec", self.environment[f"LAB_NS_{namespace.upper()}"], *map(str, words)]

    def start(self):
        """Starts the forwarder and waits until it is ready or has ended."""
        path = self.keep.with_suffix(".log")
        with path.open("a") as log:
            line = self.within("lb", PROJECT / "target/release/guideway", "run", "--config", self.config)
            self.forwarder = subprocess.Popen(line, stdout=log, stderr=log)
        self._stopped = None
        end = time.monotonic() + 60
        while self.forwarder.poll() is None and time.monotonic() < end:
            if run(*self._ctl("status"), check=False).returncode == 0:
                self._script("ready")
                return
            time.sleep(0.3)
        self.stop()
        self.refusal = next((line for line in reversed(self.log().splitlines()) if line), "no word")

    def kill(self):
        self.forwarder.kill()
        self.forwarder.wait(timeout=20)

    def stop(self):
        """How the forwarder ended."""
        if self._stopped is None:
            self.forwarder.terminate()
            status = self.forwarder.wait(timeout=60)
            back = "did not come back" not in self.log()
            self._stopped = {"status": status, "buffers_back": back}
        return self._stopped

    def log(self):
        return self.keep.with_suffix(".log").read_text()

    def _ctl(self, *words):
        program = PROJECT / "target/release/guidewayctl"
        return self.within("lb", program, "--socket", self.environment["LAB_SOCKET"], "-o", "json", *words)

    def ctl(self, *words):
        return json.loads(run(*self._ctl(*words)).stdout)

    def drive(self, connections, *options):
        """Makes connections from the clients. Returns the figures of ci/lab/drive.py."""
        weights = [word for name in ("s1=1", "s2=1", "s3=2") for word in ("--weight", name)]
        line = (PYTHON, PROJECT / "ci/lab/drive.py", "--json", "--tolerance", "1000", *weights)
        line += ("--connections", connections, "--uploads", 4, "--concurrency", 32, *options)
        done = run(*self.within("clients", *line), timeout=600, check=False)
        if not done.stdout:
            raise RuntimeError(f"drive.py: {done.stderr}")
        return json.loads(done.stdout)
