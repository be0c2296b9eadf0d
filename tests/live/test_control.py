"""The control socket and `guidewayctl` against a running appliance."""

import json
import re
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest
from support import binaries, network
from support.daemon import Daemon, live_one_port
from support.model import Fleet
from support.packets import client_packet, flow

SENT = [client_packet(flow(4, "udp", 6, 8000 + n), payload=b"x" * 50) for n in range(60)]

CONNECTIONS = 64  # the daemon serves at once
MAX_CONFIGURATION = 16 << 20  # bytes, as in guideway_api

COMMANDS = {
    ("status",): "lb1",
    ("service", "list"): "web-tcp6",
    ("backend", "list"): "near4",
    ("backend", "list", "--pool", "web"): "far6",
    ("worker", "list"): "edge0:0",
    ("port", "list"): "edge0",
    ("port", "stats"): "rx_packets",
    ("port", "stats", "--extended", "--nonzero", "--port", "edge0"): "rx_good_packets",
    ("stats",): "forwarded",
    ("stats", "--nonzero"): "forwarded",
    ("config", "show"): "tunnel_source",
    ("flow", "list"): "near4",
    ("flow", "list", "--state", "unconfirmed", "--limit", "3", "--pool", "web"): "unconfirmed",
}


@pytest.fixture(scope="module")
def peer(namespace):
    return namespace.cable("gw0")


@pytest.fixture(scope="module")
def daemon(namespace, peer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("control")
    with Daemon(namespace, live_one_port("gw0", directory), directory) as running:
        network.send(namespace, peer, [packet.frame for packet in SENT])
        running.stats_at_rest()
        yield running


def connect(daemon):
    """A connection, its lines and the greeting."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(daemon.socket))
    lines = client.makefile("rb")
    return client, lines, json.loads(lines.readline())


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_as_table_and_as_json(daemon, arguments):
    table = daemon.ctl(*arguments, output="table")
    assert table.returncode == 0, table.stderr
    assert COMMANDS[arguments] in table.stdout
    assert json.loads(daemon.ctl(*arguments, output="json").stdout)
    with pytest.raises(ValueError):
        json.loads(table.stdout)


def test_config_check_apply_and_reload_as_table_and_as_json(daemon):
    for output in ("table", "json"):
        for arguments in (("config", "check", daemon.path), ("config", "apply", daemon.path), ("config", "reload")):
            done = daemon.ctl(*arguments, output=output)
            assert done.returncode == 0, done.stderr


def test_counts_match_the_sent_packets(daemon):
    fleet = Fleet(daemon.config)
    status = daemon.ask("status")
    assert (status["node"], status["received"], status["flows"]) == ("lb1", len(SENT), len(SENT))
    service = next(s for s in daemon.ask("service", "list") if s["name"] == "web-udp4")
    size = sum(len(packet.frame) for packet in SENT)
    assert service["traffic"] == {"packets": len(SENT), "bytes": size, "flows": len(SENT), "live": len(SENT)}
    for backend in daemon.ask("backend", "list"):
        weight = 2 if backend["name"] == "near4" else 1
        assert abs(backend["share"] - weight / 5) <= 1 / 65537
        assert backend["state"] == "active"
        assert (backend["next_hop"]["state"], backend["next_hop"]["port"]) == ("resolved", "edge0")
        taken = sum(fleet.backend(packet.flow) == backend["address"] for packet in SENT)
        assert [backend["traffic"][name] for name in ("packets", "flows", "live")] == [taken] * 3
    (worker,) = daemon.ask("worker", "list")
    assert (worker["received"], worker["transmitted"], worker["dropped"]) == (len(SENT), len(SENT), 0)
    (port,) = daemon.ask("port", "list")
    assert port["driver"] == "net_af_packet" and port["mac"] == "02:00:00:00:00:01"
    assert port["counters"]["rx_packets"] == port["counters"]["tx_packets"] == len(SENT)


def test_the_own_counters_of_a_device(daemon):
    (plain,) = daemon.ask("port", "stats")
    (port,) = daemon.ask("port", "list")
    assert plain["name"] == "edge0" and plain["counters"] == port["counters"] and plain["extended"] == {}
    # DPDK itself adds these counters for each driver, and for af_packet those of each queue.
    (extended,) = daemon.ask("port", "stats", "--extended")
    assert extended["extended"]["rx_good_packets"] == extended["extended"]["rx_q0_packets"] == len(SENT)
    assert extended["extended"]["rx_missed_errors"] == 0
    (nonzero,) = daemon.ask("port", "stats", "--extended", "--nonzero")
    assert "rx_missed" not in nonzero["counters"] and "rx_missed_errors" not in nonzero["extended"]
    assert nonzero["extended"]["tx_good_packets"] == len(SENT)
    assert (port["rx_function"], port["tx_function"]) == (None, None), "the driver does not report them"


def test_one_flow_by_its_addresses(daemon):
    fleet = Fleet(daemon.config)
    names = {backend["address"]: backend["name"] for backend in daemon.config.pool()["backends"]}
    for packet in SENT[:10]:
        one = packet.flow
        asked = f"udp,{one.source}:{one.sport},{one.destination}:{one.dport}"
        (found,) = daemon.ask("flow", "list", "--flow", asked)["flows"]
        assert (found["backend"], found["state"]) == (names[fleet.backend(one)], "unconfirmed")
    unknown = daemon.ask("flow", "list", "--flow", "udp,198.51.100.200:1,203.0.113.10:53")
    assert unknown["flows"] == []


def test_flow_listings_are_bounded_and_filtered(daemon):
    fleet = Fleet(daemon.config)
    few = daemon.ask("flow", "list", "--limit", "7")
    assert len(few["flows"]) == 7 and few["truncated"]
    near = daemon.ask("flow", "list", "--backend", "near4")["flows"]
    assert len(near) == sum(fleet.backend(packet.flow) == "192.0.2.5" for packet in SENT)
    assert all(flow["backend"] == "near4" for flow in near)


def test_an_unknown_name_is_exit_code_4(daemon):
    for arguments in (("backend", "list", "--pool", "nosuch"), ("flow", "list", "--backend", "nosuch")):
        done = daemon.ctl(*arguments)
        assert done.returncode == 4 and done.stderr, done


def test_wrong_usage_is_exit_code_2(daemon):
    for arguments in (("nosuch",), ("flow", "list", "--limit", "0"), ("config", "apply"), ()):
        assert daemon.ctl(*arguments).returncode == 2


def test_no_daemon_is_exit_code_3(directory):
    for path in (directory / "nothing.sock", directory):
        line = [str(binaries.guidewayctl()), "--socket", str(path), "status"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=30)
        assert done.returncode == 3 and str(path) in done.stderr, done


def test_only_owner_and_group_reach_the_socket(daemon):
    mode = daemon.socket.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660


def test_the_daemon_sends_a_greeting_first(daemon):
    client, _, greeting = connect(daemon)
    client.close()
    assert greeting["server"] == "guideway" and greeting["protocol"] == 7


def test_a_wrong_request_is_refused_and_the_connection_goes_on(daemon):
    client, lines, _ = connect(daemon)
    for line in (b"nonsense\n", b"{}\n", b'{"request":"nosuch"}\n', b'{"request":"status","more":1}\n', b"\xff\n"):
        client.sendall(line)
        response = json.loads(lines.readline())
        assert response["response"] == "error" and response["body"]["kind"] == "bad_request", response
    client.sendall(b'{"request":"status"}\n')
    assert json.loads(lines.readline())["response"] == "status"
    client.close()


def test_requests_sent_together_get_responses_in_order(daemon):
    client, lines, _ = connect(daemon)
    client.sendall(b'{"request":"status"}\n{"request":"stats"}\n{"request":"port_list"}\n')
    assert [json.loads(lines.readline())["response"] for _ in range(3)] == ["status", "stats", "ports"]
    client.close()


def responds_quickly(daemon):
    begin = time.monotonic()
    assert daemon.ctl("status").returncode == 0
    assert time.monotonic() - begin < 2


def test_hostile_clients_delay_no_one(daemon):
    """One client sends half a line, one sends requests and never reads, one floods, many do nothing."""
    clients = []
    try:
        for _ in range(20):
            clients.append(connect(daemon)[0])
        half, _, _ = connect(daemon)
        clients.append(half)
        half.sendall(b'{"request":"sta')
        responds_quickly(daemon)

        deaf, _, _ = connect(daemon)
        clients.append(deaf)
        deaf.setblocking(False)
        try:
            for _ in range(10_000):
                deaf.send(b'{"request":"config_show"}\n')
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        responds_quickly(daemon)

        flood, _, _ = connect(daemon)
        clients.append(flood)
        try:
            for _ in range(64):
                flood.sendall(b"x" * (1 << 16))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass
        responds_quickly(daemon)
    finally:
        for client in clients:
            client.close()
    responds_quickly(daemon)


def test_idle_connections_make_room_for_others(daemon):
    """Idle connections are closed for new ones. Connections with half a line stay."""
    idle, half = [], []
    try:
        for _ in range(8):
            half.append(connect(daemon))
            half[-1][0].sendall(b'{"request":')
        for _ in range(3 * CONNECTIONS):
            idle.append(connect(daemon))
        for _ in range(4):
            responds_quickly(daemon)
        for client, lines, _ in half:
            client.sendall(b'"stats"}\n')
            assert json.loads(lines.readline())["response"] == "stats"
        # The oldest connection is closed without a message.
        assert idle[0][1].readline() == b""
    finally:
        for client, lines, _ in idle + half:
            lines.close()
            client.close()


def test_few_long_requests_are_held_at_once(daemon):
    """Of 64 clients that each send 32 MiB without the newline, the daemon holds the requests of two."""
    before = resident(daemon)
    clients, sent = [], 0
    try:
        for _ in range(CONNECTIONS - 4):
            clients.append(connect(daemon)[0])
            clients[-1].setblocking(False)
        part = b"x" * (1 << 20)
        most = (32 << 20) // len(part)
        left = dict.fromkeys(clients, most * len(part))
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for client in clients:
                if left[client]:
                    try:
                        count = client.send(part[: left[client]])
                    except BlockingIOError:
                        continue
                    left[client] -= count
                    sent += count
            time.sleep(0.01)
        held = resident(daemon) - before
        # The daemon took the first part of every client, and all of two.
        assert sent > 60 << 20
        assert held < 256 << 20, held
        responds_quickly(daemon)
    finally:
        for client in clients:
            client.close()
    responds_quickly(daemon)


def resident(daemon):
    """Bytes of the daemon's memory, without shared memory."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) << 10


def test_the_output_of_config_show_can_be_applied(daemon):
    """Also if the configuration is as long as allowed, and if JSON makes it much longer."""
    text = daemon.path.read_text()
    longest = text + "\n" * (MAX_CONFIGURATION - len(text.encode()))
    for long in (text + '# "\t\\"\n' * 200_000, longest):
        file = daemon.directory / "long.toml"
        file.write_text(long)
        applied = daemon.ctl("config", "apply", file)
        assert applied.returncode == 0, applied.stderr
        shown = daemon.ctl("config", "show", output="table").stdout
        assert shown == long
        again = daemon.ctl("config", "apply", "-", stdin=shown)
        assert again.returncode == 0, again.stderr
    file.write_text(longest + "\n")
    done = daemon.ctl("config", "apply", file)
    assert done.returncode == 1 and "a configuration has at most 16777216 bytes" in done.stderr, done
    assert daemon.ask("config", "show")["text"] == longest
    assert daemon.ctl("config", "apply", daemon.path).returncode == 0
    responds_quickly(daemon)


def test_a_configuration_over_the_limit_is_refused_by_the_daemon_too(daemon):
    client, lines, _ = connect(daemon)
    with client:
        for request in ("config_check", "config_apply"):
            text = "#" * (MAX_CONFIGURATION + 1)
            client.sendall(json.dumps({"request": request, "text": text}).encode() + b"\n")
            error = json.loads(lines.readline())["body"]
            assert (error["kind"], error["message"]) == ("rejected", "a configuration has at most 16777216 bytes")


def test_a_second_daemon_does_not_take_the_socket(namespace, daemon):
    """The first daemon goes on. The second reports what is wrong."""
    namespace.cable("gw1")
    config = daemon.config.changed(lambda c: c["port"][0].update(device="net_af_packet0,iface=gw1"))
    path = config.write(daemon.directory / "second.toml")
    line = namespace.command(binaries.guideway(), "run", "--config", path)
    done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    assert done.returncode not in (0, -signal.SIGSEGV, -signal.SIGABRT), done
    assert "guideway.sock" in done.stdout + done.stderr
    responds_quickly(daemon)


def test_a_stale_socket_is_replaced(namespace, peer, directory):
    config = live_one_port("gw0", directory)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(directory / "guideway.sock"))
    stale.close()
    with Daemon(namespace, config, directory) as running:
        running.process.kill()
        running.process.wait()
        assert running.socket.exists(), "a killed daemon leaves its socket"
        with Daemon(namespace, config, directory) as again:
            assert again.ask("status")["node"] == "lb1"


def test_a_file_that_is_no_socket_is_not_replaced(namespace, peer, directory):
    precious = directory / "guideway.sock"
    precious.write_text("precious")
    config = live_one_port("gw0", directory)
    line = namespace.command(binaries.guideway(), "run", "--config", config.write(directory / "guideway.toml"))
    done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    assert done.returncode > 0 and "guideway.sock" in done.stdout + done.stderr
    assert precious.read_text() == "precious"
