"""Fragmented datagrams go to the backend of their flow, on any worker.

The kernel spreads flows over the workers' queues by a hash that the appliance does not know, and fragments
by another hash. So the owner of a datagram has to send an owner query for its flow.
"""

import json

import pytest
from support import lab

VIP = "2001:db8:f::10"

# Small datagrams record flows. Then the configuration changes, so that new flows go elsewhere. Large
# datagrams must still reach the same servers.
FLOWS = """
import json, random, socket, sys
address, port, flows = sys.argv[1], int(sys.argv[2]), 40
sockets = []
def ask(client, body):
    for attempt in range(5):
        try:
            client.send(body)
            name, _, back = client.recv(65535).partition(b" ")
        except OSError:  # lost, or an error with the path's MTU
            continue
        assert back == body, "the datagram came back changed"
        return name.decode()
    raise SystemExit("no reply")
for n in range(flows):
    client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    client.settimeout(2)
    client.bind((f"2001:db8:c::{n % 8 + 1}", 0))
    client.connect((address, port))
    sockets.append(client)
before = [ask(client, b"small") for client in sockets]
print(json.dumps(before), flush=True)
sys.stdin.readline()
after = [ask(client, random.Random(n).randbytes(9000)) for n, client in enumerate(sockets)]
print(json.dumps(after), flush=True)
"""


@pytest.mark.parametrize("steering", ("queues", "ring"))
def test_fragments_follow_the_flow_on_any_worker(root, steering):
    with lab.Lab("--fabric-mtu", 1500, "--workers", "0 1", "--steering", steering) as up:
        port = up.environment["LAB_ECHO_PORT"]
        with up.start("clients", "/usr/bin/python3", "-c", FLOWS, VIP, port) as client:
            before = json.loads(client.stdout.readline())
            assert len(set(before)) == 3, "flows must go to all servers"
            # Two of three servers no longer get new flows.
            text = up.configuration().replace("weight = 2", "weight = 0")
            text = text.replace("weight = 1", "weight = 0", 1)
            up.apply(text)
            client.stdin.write("\n")
            client.stdin.flush()
            after = json.loads(client.stdout.readline())
        assert after == before
        stats = up.ctl("stats")
        assert stats["received"] == sum(stats["verdicts"].values())
        assert stats["events"]["fragment_waited"] > 0
        assert up.ctl("status")["fragments_waiting"] == 0
