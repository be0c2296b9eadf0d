"""A backend that is down and up again every second. `GUIDEWAY_FLAPS`: for how many seconds."""

import os
import time

from support import states
from support.states import at, change, disturbed, service, state

SECONDS = int(os.environ.get("GUIDEWAY_FLAPS", "15"))
KEPT = 100
MOVING = 100
MOVED = {"s1": "192.0.2.11", "s2": "192.0.2.12"}


def test_a_backend_flaps(root, directory):
    """With `keep` no connection of the backend breaks. With `move` each flow moves once each time its backend goes down."""
    services = [
        service("web", "tcp", 80, on_down="keep"),
        service("dns", "udp", 53, on_down="keep", keep_for=30),
        service("move", "udp", 54, pool="move"),
        service("move-tcp", "tcp", 81, pool="move", on_down="move"),
    ]
    config = states.configuration(directory, [states.pool(), states.pool("move", MOVED)], services)
    with states.rig(directory, config) as rig:

        def check(*changes):
            """What a checker of backends says: one after the other, in force at once."""
            made = [change(pool, backend, state(to)) for pool, backend, to in changes]
            rig.control.ask("backend_set", changes=made, source="controller", reason="checked")

        kept = []
        while len(at(kept, "s1")) < KEPT:
            kept += rig.open(40, 80)
        kept += rig.open(60, 53, "udp")
        check(("move", "s2", "down"))
        moving, connections = rig.open(MOVING, 54, "udp"), rig.open(20, 81)
        assert at(moving + connections, "s1") == moving + connections
        begin = time.monotonic()
        for flap in range(SECONDS):
            ups = ("active", "down") if flap % 2 else ("down", "active")
            check(("web", "s1", ups[0]), ("move", "s1", ups[0]), ("move", "s2", ups[1]))
            if flap % 10 < 2:
                # New connections enter it while it is up.
                new = rig.open(40, 80)
                assert bool(at(new, "s1")) == bool(flap % 2)
                rig.conversations.close(new)
            time.sleep(max(0, begin + flap + 1 - time.monotonic()))
        rig.conversations.check()
        assert not disturbed(kept), "a kept flow moved or broke"
        assert not rig.conversations.lost(moving)
        for one in moving:
            servers = [server for _, _, server in one.moves]
            assert servers == (["s2", "s1"] * SECONDS)[:SECONDS], (one.number, one.moves)
        # The server to which it moved first knew no such connection.
        assert all(one.broken and one.broken[1] == "ECONNRESET" and one.broken[0] < begin + 2 for one in connections)
        assert rig.live("s1") >= KEPT
