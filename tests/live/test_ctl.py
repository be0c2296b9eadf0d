"""`guidewayctl` that goes on: `--watch` under traffic and over a restart of the daemon, `monitor` until the daemon ends."""

import itertools
import json
import queue
import subprocess
import threading
import time

import pytest
from support import binaries, network
from support.daemon import Daemon, live_one_port
from support.packets import client_packet, flow

SENT = [client_packet(flow(4, "udp", 6, 8000 + n), payload=b"x" * 50) for n in range(60)]
SECONDS = 20


class Following:
    """A running command, whose lines are read as they come. It is killed on exit if it still runs."""

    def __init__(self, daemon, *arguments):
        line = [str(binaries.guidewayctl()), "--socket", str(daemon.socket), *arguments]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = self.queue(self.process.stdout)
        self.errors = self.queue(self.process.stderr)

    @staticmethod
    def queue(stream):
        lines = queue.Queue()

        def read():
            for line in stream:
                lines.put(line.rstrip("\n"))

        threading.Thread(target=read, daemon=True).start()
        return lines

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def line(self):
        return self.lines.get(timeout=SECONDS)

    def error(self):
        return self.errors.get(timeout=SECONDS)

    def table(self):
        """The next table: the words after each row's first."""
        rows = {}
        while (line := self.line()) or not rows:
            if line:
                name, *rest = line.split()
                rows[name] = rest
        return rows


@pytest.fixture(scope="module")
def peer(namespace):
    return namespace.cable("gw0")


@pytest.fixture
def daemon(namespace, peer, directory):
    def change(config):
        config["control"]["read_socket"] = str(directory / "read.sock")

    with Daemon(namespace, live_one_port("gw0", directory).changed(change), directory) as running:
        yield running


def received(table):
    """Packets received, and how many a second if that is known."""
    count, *rate = table["received"]
    return int(count), float(rate[0].removesuffix("/s")) if rate else None


def test_rates_under_traffic(daemon, namespace, peer):
    with Following(daemon, "status", "--watch=0.5") as status:
        looks = [received(status.table())]
        assert looks[0][1] is None
        for _ in range(6):
            network.send(namespace, peer, [packet.frame for packet in SENT])
            looks.append(received(status.table()))
        daemon.stats_at_rest()
        while looks[-1][1] != 0:
            looks.append(received(status.table()))
    assert looks[-1][0] == daemon.ask("stats")["received"] >= 6 * len(SENT)
    for (before, _), (count, rate) in itertools.pairwise(looks):
        # The time between two looks is that asked for, but on a busy machine.
        assert (rate == 0) == (count == before)
        if rate:
            assert 0.3 < (count - before) / rate < 5, looks


def test_a_restart_is_waited_for(daemon, namespace, peer):
    network.send(namespace, peer, [packet.frame for packet in SENT])
    daemon.stats_at_rest()
    with Following(daemon, "status", "--watch=0.2") as status:
        while not received(status.table())[0]:
            pass
        code, _ = daemon.stop()
        assert code == 0
        assert status.error().startswith("note: the daemon has gone (")
        daemon.launch()
        assert status.error() == "note: the daemon is back"
        assert status.error() == "note: the daemon was restarted"
        table = status.table()
        # Tables of the daemon that ended may be left.
        while received(table)[0] >= len(SENT):
            table = status.table()
        assert received(table)[1] is None, "the counters are another daemon's"
        assert received(status.table())[1] is not None


def test_monitor_ends_with_the_daemon(daemon):
    with Following(daemon, "monitor", "--since", "1") as monitor:
        events = [json.loads(monitor.line())]
        while events[-1]["event"] != "daemon_ready":
            events.append(json.loads(monitor.line()))
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        assert events[0]["event"] == "daemon_started"
        done = daemon.ctl("config", "reload", "--reason", "a test")
        assert done.returncode == 0, done.stderr
        while events[-1]["event"] != "changed":
            events.append(json.loads(monitor.line()))
        assert (events[-1]["request"], events[-1]["reason"]) == ("config_reload", "a test")
        daemon.stop()
        assert monitor.process.wait(SECONDS) == 3
        message = monitor.error()
        assert "has gone, and no more events come" in message, message


def test_the_socket_for_reading(daemon):
    """Everything that reads works, and a change is refused with the code of a refusal."""

    def ctl(*arguments):
        line = [str(binaries.guidewayctl()), "--socket", str(daemon.directory / "read.sock"), *arguments]
        return subprocess.run(line, capture_output=True, text=True, timeout=SECONDS)

    reading = (
        ("ba", "l"),
        ("backend", "state", "web"),
        ("config", "check", str(daemon.path)),
        ("log", "level"),
        ("monitor", "--no-follow"),
    )
    for reads in reading:
        done = ctl(*reads)
        assert done.returncode == 0, done.stderr
    level = ctl("log", "level").stdout
    changing = (
        ("config", "reload"),
        ("config", "apply", str(daemon.path)),
        ("log", "level", "debug"),
        ("backend", "drain", "web"),
    )
    for change in changing:
        done = ctl(*change)
        assert (done.returncode, done.stdout) == (5, ""), done
        assert done.stderr.startswith("error: "), done
    assert ctl("log", "level").stdout == level
    assert daemon.generation() == 1
    assert daemon.ctl("log", "level", "debug").returncode == 0
    assert ctl("log", "level").stdout == "debug\n"


def test_backends_are_set_and_given_back(daemon):
    """The way of a backend out and back, as an operator goes it, and a controller that says otherwise."""

    def state():
        (backend,) = daemon.ask("backend", "state", "web/near4")
        return {key: backend.get(key) for key in ("state", "source", "reason", "weight", "share")}

    begin = state()
    assert (begin["state"], begin["source"], begin["weight"]) == ("active", "file", 2)
    with Following(daemon, "monitor", "--since", "1", "--kind", "backend_drained") as monitor:
        done = daemon.ask("backend", "drain", "web/near4", "--reason", "a disk", "--for", "3s")
        assert [backend["name"] for backend in done["backends"]] == ["near4"]
        assert done["generation"] == daemon.generation()
        assert state() == begin | {"state": "draining", "source": "operator", "reason": "a disk", "share": 0}
        # It has no flow.
        drained = json.loads(monitor.line())
        assert (drained["pool"], drained["backend"]) == ("web", "near4")
    deadline = time.monotonic() + SECONDS
    while state() != begin and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state() == begin, "the setting has ended by itself"

    down = ("backend", "state", "--address", "192.0.2.5", "down", "--source", "controller", "--reason", "HTTP 503")
    assert daemon.ctl(*down).returncode == 0
    done = daemon.ctl("backend", "enable", "web/near4", output="table")
    assert done.returncode == 0 and "1 backend set; generation " in done.stdout
    assert done.stderr.startswith("note: web/near4 stays down, set by the controller (HTTP 503);"), done.stderr
    assert daemon.ctl("backend", "state", "web/near4", "active").returncode == 0
    assert state() == begin | {"source": "operator"}
    assert daemon.ctl("backend", "weight", "web", "7").returncode == 0
    assert {backend["weight"] for backend in daemon.ask("backend", "list")} == {7}
    for unset in (("state", "web/near4", "unset"), ("weight", "web", "unset"), (*down[1:4], "unset", *down[5:7])):
        assert daemon.ctl("backend", *unset).returncode == 0, unset
    assert state() == begin

    generation = daemon.generation()
    for wrong, message in (
        ("web/near5", "pool web has no backend near5; the nearest is near4"),
        ("near4", "no pool is named near4, but pool web has such a backend; say web/near4"),
        ("wbe", "no pool is named wbe; the nearest is web"),
    ):
        done = daemon.ctl("backend", "disable", wrong)
        assert (done.returncode, done.stderr) == (4, f"error: {message}\n"), done
    assert daemon.generation() == generation
