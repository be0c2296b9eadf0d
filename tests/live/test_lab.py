"""Every encapsulation under real TCP: clients, the live appliance, guideway-agent, web servers.

In each lab the tunnels to s1 and s3 are over IPv4 and those to s2 over IPv6. Clients use both families, so
that all four mixes of inner and outer family occur.
"""

import pytest
from support import agent, encapsulations, lab

CONNECTIONS = 300
UPLOADS = 24

# The lab's option, and the encapsulation to each server. tests/tools compares the lab's list with the program's.
LABS = {name: (name,) * 3 for name in encapsulations.of_lab()}
LABS["mix"] = ("gue", "vxlan", "l2")
LABS["mpls-gre,gre-udp,ipip"] = ("mpls-gre", "gre-udp", "ipip")


@pytest.mark.parametrize("asked", LABS)
def test_encapsulation_carries_tcp(root, asked):
    with lab.Lab("--encapsulation", asked) as up:
        backends = {backend["name"]: backend for backend in up.ctl("backend", "list")}
        sent = dict(zip(lab.SERVERS, LABS[asked], strict=True))
        assert {name: backend["encapsulation"] for name, backend in backends.items()} == sent
        done = up.drive("--connections", CONNECTIONS, "--uploads", UPLOADS)
        assert not done["errors"]
        assert (done["connections"], done["uploads"]) == (CONNECTIONS, UPLOADS)
        assert done["families"] == {"IPv4": CONNECTIONS // 2, "IPv6": CONNECTIONS // 2}
        served = {server["server"]: server["connections"] for server in done["servers"]}
        assert all(served[name] for name in lab.SERVERS), served
        for name in lab.SERVERS:
            counters = up.agent(name)
            # Without a tunnel the agent sees no packet.
            counter = None if sent[name] == "l2" else agent.counter(sent[name])
            used = {key: value for key, value in counters.items() if key.startswith("by_") and value}
            # A connection takes four packets at the least: SYN, ACK, request, FIN.
            assert list(used) == ([counter] if counter else []), counters
            assert not counter or used[counter] >= 4 * served[name]
            assert not any(value for key, value in counters.items() if key.startswith("dropped_")), counters
