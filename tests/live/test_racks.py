"""A rack fails: a thousand of 20,000 backends at once, while clients talk to others."""

import threading
import time

import pytest
from support import hosts, states
from support.clients import Connection
from support.states import at, disturbed, service, state

POOLS = 200
OF_POOL = 100
# Backends of each pool that are in the rack.
OF_RACK = 5
# Seconds. The rest of the machine has a part in it; `make bench` has the time of the change alone.
LIMIT = 2


@pytest.fixture
def rig(root, directory):
    pools = [states.pool()]
    for number in range(POOLS):
        backends = [{"name": f"b{n}", "address": f"10.{number}.0.{n + 1}"} for n in range(OF_POOL)]
        pools.append({"name": f"p{number}", "backends": backends})
    services = [service("web", "tcp", 80), service("dns", "udp", 53)]
    services += [service(f"p{number}", "tcp", 10_000 + number, pool=f"p{number}") for number in range(POOLS)]
    config = states.configuration(directory, pools, services)
    # Hops behind a router, by a route of the configuration.
    config["port"][0]["gateways"] = ["192.0.2.254"]
    config["neighbor"] = [{"address": "192.0.2.254", "mac": "02:00:00:00:00:fe"}]
    with states.rig(directory, config) as rig:
        yield rig


def rack(to):
    return [states.change(f"p{number}", f"b{n}", state(to)) for number in range(POOLS) for n in range(OF_RACK)]


def down(rig):
    return sum(one["state"] == "down" for one in rig.control.ask("backend_list"))


def test_a_rack_fails(rig):
    connections, datagrams = rig.open(200, 80), rig.open(200, 53, "udp")
    before = rig.daemon.generation()

    def ordered(changes):
        begin = time.monotonic()
        with Connection(rig.daemon.socket) as client:
            client.ask("backend_set", changes=changes, source="controller", reason="the rack fails")
        return time.monotonic() - begin

    print(f"one change {1000 * ordered(rack('down')[:1]):.0f} ms")
    took = ordered(rack("down"))
    print(f"a thousand changes {1000 * took:.0f} ms")
    assert took < LIMIT and down(rig) == POOLS * OF_RACK
    assert rig.daemon.generation() <= before + 2

    # By many clients at once, each a change of its own.
    changes, times = rack("active"), []
    threads = [threading.Thread(target=lambda n=n: times.append(ordered(changes[n::50]))) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"by 50 clients: {1000 * max(times):.0f} ms, {rig.daemon.generation() - before} generations")
    assert down(rig) == 0 and max(times) < 2 * LIMIT
    assert not disturbed(connections + datagrams) and not rig.conversations.lost(datagrams)
    assert hosts.backends(rig.daemon)["s1"]["state"] == "active" and at(connections, "s1")
    assert max(one.longest for one in connections + datagrams) < LIMIT
