"""Configurations as data, written as TOML.

The writer prints values as JSON: a JSON string, number, boolean or list of them is a TOML value too.
"""

import copy
import ipaddress
import json

KEY = "000102030405060708090a0b0c0d0e0f"
GATEWAY_MAC = "02:00:00:00:00:fe"


class Config(dict):
    """Sections by name: a dictionary for `[name]`, a list of dictionaries for `[[name]]`."""

    def changed(self, change):
        """A copy that `change` has modified."""
        other = copy.deepcopy(self)
        change(other)
        return other

    def text(self):
        lines = []
        for name, section in self.items():
            for table in section if isinstance(section, list) else [section]:
                lines.append(f"[[{name}]]" if isinstance(section, list) else f"[{name}]")
                lines += [f"{key} = {_value(value)}" for key, value in table.items()]
                lines.append("")
        return "\n".join(lines)

    def write(self, path):
        path.write_text(self.text())
        return path

    def pool(self, name="web"):
        return next(pool for pool in self["pool"] if pool["name"] == name)

    def backends(self, name="web"):
        """A pool's backends by name."""
        return {backend["name"]: backend for backend in self.pool(name)["backends"]}

    def next_hop(self, address):
        """The port (a dictionary) and the MAC address of a backend's next hop, by the rule in
        docs/operations.md: the port whose network holds the address, else the first gateway."""
        address = ipaddress.ip_address(address)
        for port in self["port"]:
            if any(address in _network(prefix) for prefix in port["addresses"]):
                return port, self._mac(address)
        for port in self["port"]:
            for gateway in map(ipaddress.ip_address, port.get("gateways", [])):
                if gateway.version == address.version:
                    return port, self._mac(gateway)
        return None, None

    def _mac(self, address):
        for neighbor in self["neighbor"]:
            if ipaddress.ip_address(neighbor["address"]) == address:
                return neighbor["mac"]
        return None

    def tunnel_source(self, version):
        for source in self["node"]["tunnel_source"]:
            if ipaddress.ip_address(source).version == version:
                return source
        return None


def _network(prefix):
    return ipaddress.ip_network(prefix, strict=False)


def _value(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)


def services(pool="web"):
    """TCP and UDP over both families."""
    return [
        {"name": f"{pool}-{protocol}{version}", "address": address, "protocol": protocol, "port": port, "pool": pool}
        for version, address in ((4, "203.0.113.10"), (6, "2001:db8:f::10"))
        for protocol, port in (("tcp", 80), ("udp", 53))
    ]


def one_port(**port):
    """An appliance with one port and four backends: two on its link, over IPv4 and IPv6, with weights 2
    and 1, and two behind the gateways."""
    return Config(
        node={"name": "lb1", "tunnel_source": ["192.0.2.1", "2001:db8::1"]},
        hash={"key": KEY, "table_size": 65537},
        dpdk={"workers": [0]},
        port=[
            {
                "name": "edge0",
                "device": "0000:3b:00.0",
                # What the packet path leaves alone has its own verdict then, rather than `punted`.
                "interface": "none",
                "addresses": ["192.0.2.1/24", "2001:db8::1/64"],
                "gateways": ["192.0.2.254", "2001:db8::fe"],
                "mtu": 1500,
                "mac": "02:00:00:00:00:01",
                **port,
            }
        ],
        neighbor=[
            {"address": "192.0.2.254", "mac": GATEWAY_MAC},
            {"address": "2001:db8::fe", "mac": "02:00:00:00:06:fe"},
            {"address": "192.0.2.5", "mac": "02:00:00:00:05:05"},
            {"address": "2001:db8::6", "mac": "02:00:00:00:05:06"},
        ],
        pool=[
            {
                "name": "web",
                "backends": [
                    {"name": "near4", "address": "192.0.2.5", "weight": 2},
                    {"name": "near6", "address": "2001:db8::6"},
                    {"name": "far4", "address": "10.9.0.7"},
                    {"name": "far6", "address": "2001:db8:b::8"},
                ],
            }
        ],
        service=services(),
    )


def two_ports():
    """The configuration of `one_port`, with the near backends behind a second port."""

    def change(config):
        config["port"].append(
            {
                "name": "core0",
                "device": "0000:3b:00.1",
                "interface": "none",
                "addresses": ["10.0.0.1/24", "2001:db8:1::1/64"],
                "mtu": 1600,
                "mac": "02:00:00:00:00:02",
            }
        )
        config["neighbor"][2]["address"] = "10.0.0.5"
        config["neighbor"][3]["address"] = "2001:db8:1::6"
        config.backends()["near4"]["address"] = "10.0.0.5"
        config.backends()["near6"]["address"] = "2001:db8:1::6"

    return one_port().changed(change)
