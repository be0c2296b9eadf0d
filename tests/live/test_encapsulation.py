"""`guidewayctl backend list` shows which encapsulation is in use, and why."""

from support.config import one_port
from support.daemon import Daemon, live


def test_the_choice_and_its_reason_are_shown(namespace, directory):
    def change(config):
        pool = config["pool"][0]
        pool["encapsulation"] = ["gre", "gue"]
        near4, near6, far4, _ = pool["backends"]
        near4["encapsulation"] = ["ipip", "l2"]
        near6["encapsulation"] = "gre"
        far4["encapsulation"] = ["l2", "gre"]

    expected = {
        "near4": ("l2", "best for multipath of ipip, l2: packets keep their own addresses and ports"),
        "near6": ("gre", "the only one listed: flows differ in the IPv6 flow label"),
        "far4": (
            "gre",
            (
                "best for multipath of l2, gre: flows do not differ in the outer header; "
                "not l2: the backend is not on the link"
            ),
        ),
        "far6": ("gue", "best for multipath of gre, gue: flows differ in the UDP source port"),
    }
    namespace.cable("en0")
    config = live(one_port().changed(change), "en0", directory)
    with Daemon(namespace, config, directory) as daemon:
        shown = {b["name"]: (b["encapsulation"], b["why"]) for b in daemon.ask("backend", "list")}
        assert shown == expected
        table = daemon.ctl("backend", "list", output="table").stdout
        assert all(why in table for _, why in expected.values())
        # A reload applies a change.
        config["pool"][0]["backends"][1]["encapsulation"] = ["gre", "vxlan"]
        config["pool"][0]["backends"][1]["vni"] = 7
        config.write(daemon.path)
        assert daemon.ctl("config", "reload").returncode == 0
        shown = {b["name"]: b["encapsulation"] for b in daemon.ask("backend", "list")}
        assert shown["near6"] == "vxlan"
