"""What the daemon records, logs and lets clients read."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import binaries, hosts
from support.daemon import Daemon, live_one_port
from support.events import Connection, Monitor, kept
from support.hosts import INTERFACE, Fabric, pool, running, wait_for_states
from support.network import Namespace

NAME = "veth0"
KEPT = 10_000  # events, as in guideway_api

# A client that says what it is and waits.
HELLO = """
import json, socket, sys, time
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(json.dumps({"request": "hello", "client": "controller", "version": "1.2"}).encode() + b"\\n")
time.sleep(600)
"""


@pytest.fixture
def namespace(root):
    with Namespace() as made:
        made.cable(NAME)
        yield made


@contextlib.contextmanager
def appliance(namespace, directory, change=None):
    config = live_one_port(NAME, directory)
    with Daemon(namespace, config.changed(change) if change else config, directory) as daemon:
        daemon.wait_for_generation(1)
        yield daemon


@pytest.fixture
def daemon(namespace, directory):
    with appliance(namespace, directory) as daemon:
        yield daemon
        assert daemon.stop()[0] == 0, daemon.log()


def set_link(namespace, state):
    subprocess.run(["ip", "-n", namespace.name, "link", "set", NAME + "p", state], check=True, timeout=30)


def names(events):
    return [event["event"] for event in events]


def wait_for_event(daemon, event):
    with Monitor(daemon.socket) as monitor:
        return monitor.until(event)


def test_the_start_is_recorded(daemon):
    wait_for_event(daemon, "daemon_ready")
    events, lost = kept(daemon.socket)
    assert lost == 0 and [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    started = next(event for event in events if event["event"] == "daemon_started")
    ready = next(event for event in events if event["event"] == "daemon_ready")
    assert started["pid"] == daemon.process.pid and ready["generation"] >= 1
    assert started["sequence"] < ready["sequence"]
    log = daemon.log()
    assert log.index("has started") < log.index(f"INFO ready; control socket {daemon.socket}")


def test_links_are_recorded_logged_and_counted_alike(namespace, daemon):
    with Monitor(daemon.socket, since=0) as monitor:
        for times in (1, 2, 3):
            set_link(namespace, "down")
            down = monitor.until("link_down", port="edge0")
            set_link(namespace, "up")
            monitor.until("link_up", port="edge0")
            assert daemon.ask("stats")["events"]["link_down"] == times
            assert down["time"].endswith("Z")
            assert len(kept(daemon.socket, kinds=["link_down"])[0]) == times
            monitor.events.clear()
    daemon.wait_for_log('WARN port "edge0": link down, interface veth0: no carrier')
    daemon.wait_for_log('INFO port "edge0": link up')


def test_changes_and_refusals_are_audited(daemon):
    own = {"uid": os.geteuid()}
    events, _ = kept(daemon.socket)
    assert "changed" not in names(events)
    good = daemon.config.text()
    count = {key: len(daemon.ask(key, "list")) for key in ("service", "backend")}
    words = {
        key: f"generation {generation}, {count['service']} services, {count['backend']} backends"
        for key, generation in (("before", 1), ("after", 2))
    }
    with Monitor(daemon.socket, since=0) as monitor, Connection(daemon.socket) as client:
        me = {"pid": os.getpid(), **own, "request": "config_apply"}
        assert client.ask("config_apply", text=good, reason="a trial")["response"] == "applied"
        monitor.until("config_applied", generation=2)
        monitor.until("changed", reason="a trial", outcome="applied", **me, **words)
        response = client.ask("config_apply", text=good.replace("[node]", "[nude]"))
        assert response["body"]["kind"] == "rejected"
        refused = monitor.until("config_refused")
        assert "line 1: node: the section [node] is missing; and 1 more" in refused["error"]
        changed = monitor.until("changed", before=words["after"], after=words["after"], outcome="refused", **me)
        assert "mistakes" in changed["error"] and "reason" not in changed
        done = daemon.ctl("config", "reload")
        assert done.returncode == 0, done.stderr
        changed = monitor.until("changed", request="config_reload", process="guidewayctl", **own)
        assert "error" not in changed
        daemon.process.send_signal(signal.SIGHUP)
        monitor.until("changed", request="config_reload", process="SIGHUP", pid=daemon.process.pid)
        response = client.ask("config_reload", reason="two\nlines")
        assert response["body"]["kind"] == "bad_request"
        assert client.ask("config_check", text=good)["response"] == "checked"
        assert client.ask("log_level")["body"] == {"level": "info"}
        daemon.process.send_signal(signal.SIGHUP)
        monitor.events.clear()
        monitor.until("changed", process="SIGHUP")
        assert names(monitor.events).count("changed") == 1, "what came before changes nothing"
    daemon.wait_for_log("change: config_apply by ")
    assert "reason: a trial" in daemon.log()


def test_a_client_that_said_hello_is_missed_when_it_is_killed(daemon):
    with Monitor(daemon.socket, since=0) as monitor:
        client = subprocess.Popen([sys.executable, "-c", HELLO, str(daemon.socket)])
        try:
            monitor.until("client_connected", client="controller", version="1.2", pid=client.pid, uid=os.geteuid())
            assert "client_disconnected" not in names(monitor.events)
        finally:
            client.kill()
            client.wait()
        monitor.until("client_disconnected", client="controller", pid=client.pid)


def test_the_stop_is_the_last_event(namespace, directory):
    with appliance(namespace, directory) as daemon, Monitor(daemon.socket, since=0) as monitor:
        daemon.process.send_signal(signal.SIGINT)
        monitor.until("daemon_stopping", reason="SIGINT")
        assert monitor.read() is None, "the connection ends"
        assert daemon.process.wait(10) == 0
        assert "INFO stopping on SIGINT" in daemon.log()


def test_a_reader_that_sleeps_is_told_exactly_what_it_lost(namespace, directory):
    """200 times the link goes down and up, and with it the routes to 60 backends."""

    def grow(config):
        backends = [{"name": f"n{n}", "address": f"192.0.2.{100 + n}"} for n in range(60)]
        config["pool"].append({"name": "large", "backends": backends})

    with appliance(namespace, directory, grow) as daemon:
        quick, slow = Monitor(daemon.socket, since=0), Monitor(daemon.socket, since=0)
        stopping = threading.Event()

        def read():
            while not stopping.is_set() or names(quick.events[-1:]) != ["changed"]:
                quick.read()

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(200):
            set_link(namespace, "down")
            time.sleep(0.03)
            set_link(namespace, "up")
            time.sleep(0.03)
        time.sleep(1)
        # The last event, by which both readers know the end.
        stopping.set()
        assert daemon.ctl("config", "reload").returncode == 0
        reader.join(30)
        assert not reader.is_alive()
        slow.until("changed", 30)
        total = quick.events[-1]["sequence"] - quick.events[0]["sequence"] + 1
        assert quick.lost + len(quick.events) == total
        assert total > KEPT + 5000, "too few to lose any"
        assert slow.events[-1] == quick.events[-1]
        assert slow.lost + len(slow.events) == total and slow.lost > 0
        assert quick.lost == 0, "one that reads loses nothing"
        count = daemon.ask("stats")["events"]["link_down"]
        assert names(quick.events).count("link_down") == count >= 150
        # The log has few of them, and says so.
        assert "not logged)" in daemon.log()
        assert daemon.log().count(" of pool large is ") < names(quick.events).count("backend_state") / 10
        for monitor in (quick, slow):
            monitor.close()
        assert daemon.stop()[0] == 0, daemon.log()


def test_neighbors_backends_and_pools(root, directory):
    with Fabric() as fabric:
        fabric.end = fabric.cable("gw0", fabric.bridge("edge"))
        server = fabric.host("edge", "192.0.2.5/24")
        config = hosts.configuration(directory, change=lambda config: pool(config, ["192.0.2.5"]))
        with running(fabric, config, directory) as daemon:
            wait_for_states(daemon, "active")
            with Monitor(daemon.socket) as monitor:
                where = {"port": "edge0", "address": "192.0.2.5"}
                backend = {"pool": "web", "backend": "b0", "address": "192.0.2.5"}
                monitor.until("neighbor_resolved", mac=server.mac, **where)
                monitor.until("backend_state", to="active", **{"from": "unresolved"}, **backend)
                monitor.until("pool_serving", pool="web", active=1)
                monitor.events.clear()
                server.ip("link", "set", INTERFACE, "arp", "off")
                monitor.until("neighbor_lost", 60, **where)
                monitor.until("backend_state", to="unresolved", **{"from": "active"}, **backend)
                monitor.until("pool_empty", pool="web")
                monitor.events.clear()
                server.ip("link", "set", INTERFACE, "arp", "on")
                monitor.until("neighbor_resolved", 60, mac=server.mac, **where)
                monitor.until("pool_serving", 10, pool="web", active=1)


def test_the_second_socket_is_for_reading(namespace, directory):
    read_socket = directory / "read.sock"

    def change(config):
        config["control"]["read_socket"] = str(read_socket)

    changes = {
        "backend_set": {"changes": [{"pool": "web", "set": {"state": "draining"}}], "reason": "why not"},
        "config_apply": {"text": ""},
        "config_reload": {"reason": "why not"},
        "log_level": {"level": "off"},
    }
    fields = {
        "config_check": {"text": ""},
        "route_show": {"backend": "near4"},
        "hello": {"client": "c", "version": "1"},
    }
    with appliance(namespace, directory, change) as daemon:
        assert read_socket.stat().st_mode & 0o777 == 0o660
        with Connection(read_socket) as reader, Monitor(daemon.socket, since=0) as monitor:
            known = reader.ask("reboot")["body"]["details"][1].removeprefix("the requests are: ").split(", ")
            assert set(changes) < set(known)
            for request in known:
                response = reader.ask(request, **(changes | fields).get(request, {}))
                is_forbidden = response["response"] == "error" and response["body"]["kind"] == "forbidden"
                assert is_forbidden == (request in changes), response
                if is_forbidden:
                    assert "control.socket" in response["body"]["message"]
                    monitor.until("changed", request=request, pid=os.getpid())
            assert reader.ask("log_level")["body"] == {"level": "info"}
            assert daemon.generation() == 1
        with Monitor(read_socket, since=0) as monitor:
            assert daemon.ctl("config", "reload").returncode == 0
            monitor.until("config_applied")
        # Each socket has a daemon.
        other = live_one_port(NAME, directory).changed(change).changed(
            lambda config: config["control"].update(socket=str(directory / "other.sock"))
        )
        path = other.write(directory / "other.toml")
        line = namespace.command(binaries.guideway(), "run", "--config", path)
        second = subprocess.run(line, capture_output=True, text=True, timeout=30)
        assert second.returncode == 1 and f"{read_socket}: another daemon serves" in second.stderr, second
        assert daemon.stop()[0] == 0 and not read_socket.exists()


def test_the_level_changes_while_it_runs(namespace, directory):
    with appliance(namespace, directory) as daemon, Connection(daemon.socket) as client:

        def flap():
            begin = len(daemon.log())
            with Monitor(daemon.socket, since=0) as monitor:
                set_link(namespace, "down")
                monitor.until("link_down")
                set_link(namespace, "up")
                monitor.until("link_up")
            client.ask("status")
            time.sleep(0.3)
            return daemon.log()[begin:]

        assert "link down" in flap()
        assert client.ask("log_level", level="warn", reason="too much")["body"] == {"level": "warn"}
        lines = flap()
        assert "link down" in lines and "link up" not in lines
        assert client.ask("log_level", level="off")["body"] == {"level": "off"}
        assert flap() == ""
        daemon.wait_for_log("): level warn became level off")
        assert client.ask("log_level")["body"] == {"level": "off"}
        # A file that says what it said leaves the level as it is.
        assert daemon.ctl("config", "reload").returncode == 0
        assert client.ask("log_level")["body"] == {"level": "off"}
        daemon.path.write_text(daemon.path.read_text() + '\n[log]\nlevel = "debug"\n')
        assert daemon.ctl("config", "reload").returncode == 0
        assert client.ask("log_level")["body"] == {"level": "debug"}
        assert "link up" in flap()
        daemon.wait_for_log("DEBUG request status")
        assert daemon.stop()[0] == 0


def with_log(**keys):
    return lambda config: config.update(log=keys)


def test_json_has_an_object_on_each_line(namespace, directory):
    with appliance(namespace, directory, with_log(format="json")) as daemon:
        wait_for_event(daemon, "daemon_ready")
        set_link(namespace, "down")
        down = wait_for_event(daemon, "link_down")
        assert daemon.stop()[0] == 0
    # What DPDK and its drivers write is text.
    lines = [json.loads(line) for line in daemon.log().splitlines() if line.startswith("{")]
    assert len(lines) > 5 and all({"time", "level", "message"} <= line.keys() for line in lines)
    logged = next(line for line in lines if line.get("event") == "link_down")
    assert (logged["port"], logged["sequence"], logged["level"]) == ("edge0", down["sequence"], "warn")
    assert "daemon_stopping" in [line.get("event") for line in lines]
    assert "every packet buffer is back in its pool" in lines[-1]["message"]


class Journaled(Daemon):
    """A daemon that finds a journal of ours, in a mount namespace of its own."""

    def line(self):
        script = 'mkdir -p /run/systemd/journal && mount --bind "$0" /run/systemd/journal && exec "$@"'
        return ["unshare", "-m", "sh", "-c", script, self.directory / "journal", *super().line()]


@contextlib.contextmanager
def journaled(namespace, directory, **keys):
    (directory / "journal").mkdir()
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as journal:
        journal.bind(str(directory / "journal" / "socket"))
        journal.settimeout(10)
        config = live_one_port(NAME, directory).changed(with_log(format="journald", **keys))
        with Journaled(namespace, config, directory) as daemon:
            yield daemon, journal


needs_unshare = pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare (util-linux) is not there")


@needs_unshare
def test_the_journal_gets_fields(namespace, directory):
    with journaled(namespace, directory) as (daemon, journal):
        set_link(namespace, "down")
        entries = []
        while "GUIDEWAY_EVENT=link_down" not in (entries[-1] if entries else ""):
            entries.append(journal.recv(1 << 17).decode())
        lines = entries[-1].splitlines()
        assert 'MESSAGE=port "edge0": link down, interface veth0: no carrier' in lines
        assert {"PRIORITY=4", "SYSLOG_IDENTIFIER=guideway", "GUIDEWAY_PORT=edge0"} <= set(lines)
        assert any("GUIDEWAY_EVENT=daemon_started" in entry for entry in entries)
        journal.setblocking(False)
        assert daemon.stop()[0] == 0
        assert "INFO" not in daemon.log(), "the log is in the journal alone"


@needs_unshare
def test_a_journal_that_stands_still_stops_nothing(namespace, directory):
    with journaled(namespace, directory, level="debug") as (daemon, _):
        for _ in range(30):
            assert daemon.ctl("config", "reload").returncode == 0
        assert daemon.generation() >= 31
        code, seconds = daemon.stop()
        assert code == 0 and seconds < 5


def test_without_a_journal_the_log_is_text(namespace, directory):
    if Path("/run/systemd/journal/socket").exists():
        pytest.skip("this host has a journal")
    with appliance(namespace, directory, with_log(format="journald")) as daemon:
        daemon.wait_for_log("WARN log.format: no journal, the log stays text")
        daemon.wait_for_log("INFO ready; control socket")


def test_the_environment_has_precedence_at_the_start(namespace, directory):
    class Quiet(Daemon):
        def line(self):
            return ["env", "GUIDEWAY_LOG=error", *super().line()]

    config = live_one_port(NAME, directory).changed(with_log(level="debug"))
    with Quiet(namespace, config, directory) as daemon, Connection(daemon.socket) as client:
        assert client.ask("log_level")["body"] == {"level": "error"}
        assert "INFO" not in daemon.log()
