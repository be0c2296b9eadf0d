"""A pool without backends and with `on_empty = "reset"`: clients' kernels take the refusals for those of a host, and a
flood of forged SYNs gets no more of them than the limit allows."""

import contextlib
import socket
import time

import pytest
from support.hosts import Fabric, Flood, client_of, configuration, running, wait_until
from support.packets import VIP, client_packet, flow

FAMILIES = (4, 6)
RATE, BURST = 200, 50
PER_SECOND = 20_000
SECONDS = 3


@pytest.fixture
def fabric(root):
    with Fabric() as made:
        made.cable("gw0", made.bridge("edge"))
        yield made


def refusing(config):
    config.pool().update(on_empty="reset", backends=[])
    config["icmp"] = {"rate": RATE, "burst": BURST}


def opened(client, version, kind):
    made = client.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, kind)
    made.settimeout(10)
    return contextlib.closing(made)


@pytest.mark.parametrize("version", FAMILIES)
def test_a_client_is_refused_at_once(fabric, directory, version):
    client = client_of(fabric, version)
    client.knows_the_node()
    with running(fabric, configuration(directory, change=refusing), directory) as daemon:
        for _ in range(5):
            with opened(client, version, socket.SOCK_STREAM) as stream:
                begin = time.monotonic()
                with pytest.raises(ConnectionRefusedError):
                    stream.connect((VIP[version], 80))
                # Without an answer the kernel repeats its SYN after a second.
                assert time.monotonic() - begin < 0.9
            with opened(client, version, socket.SOCK_DGRAM) as datagrams:
                datagrams.connect((VIP[version], 53))
                datagrams.send(b"anybody?")
                with pytest.raises(ConnectionRefusedError):
                    datagrams.recv(1)
        verdicts = daemon.stats_at_rest()["verdicts"]
    counters = client.counters()
    assert (verdicts["reset_replied"], verdicts["unreachable_replied"]) == (5, 5)
    assert (counters["TcpActiveOpens"], counters["TcpAttemptFails"]) == (5, 5)
    assert not counters["TcpRetransSegs"] and not counters["TcpInErrs"]


@pytest.mark.parametrize("version", FAMILIES)
def test_a_flood_stays_within_the_limit(fabric, directory, version):
    """Pings get their replies all the while."""
    client, attacker = client_of(fabric, version), fabric.host("edge")
    client.knows_the_node()
    frame = client_packet(flow(version, "tcp", 7), flags="S").frame
    port = {4: 34, 6: 54}[version]
    words = [(port, port + 16)]  # the source port, and the checksum
    with running(fabric, configuration(directory, change=refusing), directory) as daemon:
        wait_until(lambda: client.run("ping", "-c", 1, "-W", 1, VIP[version], check=False).returncode == 0)
        with Flood(attacker, frame, PER_SECOND, *words) as flood:
            begin = time.monotonic()
            done = client.run("ping", "-c", SECONDS * 10, "-i", "0.1", VIP[version])
            sent = flood.stop()
            took = time.monotonic() - begin + 0.5
        verdicts = daemon.stats_at_rest()["verdicts"]
    assert " 0% packet loss" in done.stdout
    print(f"IPv{version}: {sent} SYNs, {verdicts['reset_replied']} answers")
    assert sent > PER_SECOND * SECONDS / 4
    assert verdicts["reset_replied"] + verdicts["reply_limited"] == sent
    assert RATE * SECONDS / 2 <= verdicts["reset_replied"] <= RATE * took + BURST
