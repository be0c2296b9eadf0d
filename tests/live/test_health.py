"""The HTTP server of a running daemon: `/healthz` and `/readyz` over its life, and what the daemon records of its health."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import threading
import time

import pytest
from support.config import one_port, two_ports
from support.daemon import Daemon, live
from support.network import Namespace, Traffic
from support.replies import echo
from support.threads import stopped

PORT = 9420
SECONDS = 10


class Connection(http.client.HTTPConnection):
    """A connection by the unix socket, or else by TCP inside the namespace."""

    def __init__(self, place, timeout=SECONDS):
        super().__init__("localhost", timeout=timeout)
        self._place = place

    def connect(self):
        if isinstance(self._place, Namespace):
            self.sock = self._place.inside(socket.socket)
            address = ("127.0.0.1", PORT)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            address = str(self._place)
        self.sock.settimeout(self.timeout)
        self.sock.connect(address)


def get(place, target, **options):
    """The status and the body. The body of a health check comes as status and reasons."""
    headers = options.pop("headers", {})
    connection = Connection(place, **options)
    with contextlib.closing(connection):
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.getheader("content-type") != "application/json":
            return answer.status, body.decode()
        page = json.loads(body)
        return answer.status, page["status"], [tuple(reason.values()) for reason in page["reasons"]]


def checks(place):
    return get(place, "/healthz"), get(place, "/readyz")


def wait_for(place, healthz, readyz):
    end = time.monotonic() + SECONDS
    while checks(place) != (healthz, readyz):
        assert time.monotonic() < end, checks(place)
        time.sleep(0.02)


OK = (200, "ok", [])
READY = (200, "ready", [])


def failing(*reasons):
    return (503, "failing", list(reasons))


def not_ready(*reasons):
    return (503, "not_ready", list(reasons))


@pytest.fixture
def place():
    """A namespace with interfaces for two ports."""
    with Namespace() as made:
        subprocess.run(made.command("ip", "link", "set", "lo", "up"), check=True, timeout=30)
        made.cable("veth0")
        made.cable("veth1")
        yield made


def configured(directory, ports=1, workers=1, **sections):
    def change(config):
        config["metrics"] = {"listen": [f"127.0.0.1:{PORT}", str(directory / "metrics.sock")]}
        config.update(sections)
        if ports == 2:
            config["port"][1]["device"] = "net_af_packet1,iface=veth1"

    return live(two_ports() if ports == 2 else one_port(), "veth0", directory, workers).changed(change)


def set_link(namespace, interface, state):
    subprocess.run(namespace.command("ip", "link", "set", interface, state), check=True, timeout=30)


def happened(daemon):
    """Every event so far."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(SECONDS)
    client.connect(str(daemon.socket))
    with client, client.makefile("rwb") as lines:
        lines.readline()
        lines.write(b'{"request":"monitor","since":1}\n')
        lines.flush()
        events = []
        while True:
            body = json.loads(lines.readline())["body"]
            events += body["events"]
            if not body["more"]:
                return events


def wait_for_event(daemon, name):
    end = time.monotonic() + SECONDS + 10
    while not (found := [event for event in happened(daemon) if event["event"] == name]):
        assert time.monotonic() < end, happened(daemon)
        time.sleep(0.05)
    return found[0]


class Poller:
    """Asks for a page again and again, from before the start until after the end."""

    def __init__(self, place, target):
        self.answers = []
        self._ending = False
        self._thread = threading.Thread(target=self._ask, args=(place, target))

    def _ask(self, place, target):
        while not self._ending:
            # There is no server yet, or none any more.
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = get(place, target)
                if self.answers[-1:] != [answer]:
                    self.answers.append(answer)
            time.sleep(0.005)

    def wait_for(self, answer):
        end = time.monotonic() + SECONDS
        while answer not in self.answers:
            assert time.monotonic() < end, self.answers
            time.sleep(0.005)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self._thread.join()


def test_a_daemon_is_ready_between_its_start_and_its_stop(place, directory):
    socket_path = directory / "metrics.sock"
    daemon = Daemon(place, configured(directory), directory)
    with Poller(socket_path, "/readyz") as readyz, Poller(socket_path, "/healthz") as healthz, daemon:
        readyz.wait_for(READY)
        healthz.wait_for(OK)
        assert get(socket_path, "/metrics")[0] == 200
        assert (socket_path.stat().st_mode & 0o777) == 0o660
        code, seconds = daemon.stop()
        assert code == 0 and seconds < 5, daemon.log()
        time.sleep(0.1)
    assert not socket_path.exists()
    starting, stopping = (("daemon", "guideway", word) for word in ("starting", "stopping"))
    for answers, well, ill in ((readyz.answers, READY, not_ready), (healthz.answers, OK, failing)):
        # The stop may be quicker than the next question.
        assert answers in ([ill(starting), well], [ill(starting), well, ill(stopping)]), answers


def test_ports_whose_link_goes_and_comes(place, directory):
    with Daemon(place, configured(directory, ports=2), directory) as daemon:
        wait_for(place, OK, READY)
        set_link(place, "veth1p", "down")
        down = ("port", "core0", "link down")
        wait_for(place, failing(down), READY)
        set_link(place, "veth0", "down")
        wait_for(place, failing(("port", "edge0", "link down"), down), not_ready(("port", "all", "no port is up")))
        set_link(place, "veth0", "up")
        wait_for(place, failing(down), READY)
        set_link(place, "veth1p", "up")
        wait_for(place, OK, READY)
        assert daemon.stop()[0] == 0, daemon.log()


def test_only_known_names_may_be_used(place, directory):
    config = configured(directory).changed(lambda config: config["metrics"].update(hosts=["lb.example"]))
    with Daemon(place, config, directory) as daemon:
        wait_for(place, OK, READY)
        for name in ("localhost", "127.0.0.1:9420", "[::1]:9420", "lb1", "LB.example:80"):
            assert get(place, "/metrics", headers={"Host": name})[0] == 200, name
        status, text = get(place, "/metrics", headers={"Host": "evil.example"})
        assert status == 403 and "metrics.hosts" in text
        renamed = daemon.config.changed(lambda config: config["node"].update(name="lb9"))
        renamed.write(daemon.path)
        assert daemon.ctl("config", "reload").returncode == 0
        assert get(place, "/healthz", headers={"Host": "lb9"}) == OK
        assert get(place, "/healthz", headers={"Host": "lb1"})[0] == 403
        page = Connection(place)
        page.request("GET", "/healthz")
        assert json.loads(page.getresponse().read())["generation"] == daemon.generation()
        page.close()


def test_an_address_that_is_taken_fails_before_the_devices_start(place, directory):
    with place.inside(socket.socket) as taken:
        taken.bind(("127.0.0.1", PORT))
        taken.listen()
        daemon = Daemon(place, configured(directory), directory)
        daemon.launch()
        assert daemon.process.wait(SECONDS) == 1
    assert f"metrics.listen: 127.0.0.1:{PORT}: another program listens there already" in daemon.log()
    assert "DPDK" not in daemon.log()
    assert not daemon.socket.exists()


def test_a_worker_that_stands_still(place, directory):
    with Daemon(place, configured(directory, workers=2), directory) as daemon:
        wait_for(place, OK, READY)
        [task] = daemon.threads("worker1")
        with stopped(task):
            wait_for_event(daemon, "worker_stalled")
            for page, word in (("/healthz", "failing"), ("/readyz", "not_ready")):
                status, said, [(check, subject, message)] = get(place, page)
                assert (status, said, check, subject) == (503, word, "worker", "1"), message
                assert message.startswith("no round for ")
        wait_for(place, OK, READY)
        stalled, resumed = (wait_for_event(daemon, f"worker_{what}") for what in ("stalled", "resumed"))
        assert stalled["worker"] == resumed["worker"] == 1
        assert 1000 <= stalled["age_ms"] <= resumed["age_ms"]
        assert daemon.stop()[0] == 0, daemon.log()


def test_tables_that_a_worker_does_not_load(place, directory):
    with Daemon(place, configured(directory, workers=2), directory) as daemon:
        wait_for(place, OK, READY)
        generation = daemon.generation()
        [task] = daemon.threads("worker0")
        with stopped(task):
            # The daemon waits 5 seconds itself.
            assert daemon.ctl("config", "reload").returncode != 0
            end = time.monotonic() + SECONDS
            while "configuration" not in [check for check, *_ in get(place, "/healthz")[2]]:
                assert time.monotonic() < end, get(place, "/healthz")
                time.sleep(0.05)
            late = [message for check, _, message in get(place, "/healthz")[2] if check == "configuration"]
            assert late[0].startswith(f"generation {generation + 1} was published "), late
        wait_for(place, OK, READY)


def test_a_process_that_is_stopped_does_not_answer_and_has_not_stalled(place, directory):
    with Daemon(place, configured(directory), directory) as daemon:
        wait_for(place, OK, READY)
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                get(place, "/healthz", timeout=2)
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        wait_for(place, OK, READY)
        assert "worker_stalled" not in [event["event"] for event in happened(daemon)]


def test_a_flood_is_recorded_once_when_it_begins_and_when_it_ends(place, directory):
    frame = echo(4)[0]
    with Daemon(place, configured(directory, icmp={"rate": 1, "burst": 1}), directory) as daemon:
        wait_for(place, OK, READY)
        with Traffic(place, "veth0p", [frame], 400) as traffic:
            traffic.wait(1200)
        ended = wait_for_event(daemon, "flood_ended")
        began = wait_for_event(daemon, "flood_began")
        limited = daemon.ask("stats")["verdicts"]["reply_limited"]
        assert (began["counter"], ended["counter"]) == ("reply_limited", "reply_limited")
        assert began["packets"] <= ended["packets"] <= limited
        assert 2 <= ended["seconds"] <= 6, ended
        floods = [event for event in happened(daemon) if event["event"].startswith("flood")]
        assert len(floods) == 2, floods
