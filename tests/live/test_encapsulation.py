"""`guidewayctl backend list` shows which encapsulation is in use, and why."""

from support.config import one_port
from support.daemon import Daemon, live


def choice(listed, field, *left_out):
    return {"listed": listed.split(), "flows_differ_in": field, "left_out": list(left_out)}


def test_the_choice_and_its_reason_are_shown(namespace, directory):
    def change(config):
        pool = config["pool"][0]
        pool["encapsulation"] = ["gre", "gue"]
        near4, near6, far4, _ = pool["backends"]
        near4["encapsulation"] = ["ipip", "l2"]
        near6["encapsulation"] = "gre"
        far4["encapsulation"] = ["l2", "gre"]

    expected = {
        "near4": ("l2", choice("ipip l2", "own")),
        "near6": ("gre", choice("gre", "flow_label")),
        "far4": ("gre", choice("l2 gre", "nothing", {"encapsulation": "l2", "reason": "not_on_link"})),
        "far6": ("gue", choice("gre gue", "udp_source_port")),
    }
    words = (
        "best for multipath of ipip, l2: packets keep their own addresses and ports",
        "the only one listed: flows differ in the IPv6 flow label",
        "best for multipath of l2, gre: flows do not differ in the outer header; not l2: the backend is not on the link",
        "best for multipath of gre, gue: flows differ in the UDP source port",
    )
    namespace.cable("en0")
    config = live(one_port().changed(change), "en0", directory)
    with Daemon(namespace, config, directory) as daemon:
        shown = {b["name"]: (b["encapsulation"], b["encapsulation_choice"]) for b in daemon.ask("backend", "list")}
        assert shown == expected
        table = daemon.ctl("backend", "list", "--routes", output="table").stdout
        assert all(sentence in table for sentence in words)
        # A reload applies a change.
        config["pool"][0]["backends"][1]["encapsulation"] = ["gre", "vxlan"]
        config["pool"][0]["backends"][1]["vni"] = 7
        config.write(daemon.path)
        assert daemon.ctl("config", "reload").returncode == 0
        shown = {b["name"]: b["encapsulation"] for b in daemon.ask("backend", "list")}
        assert shown["near6"] == "vxlan"
