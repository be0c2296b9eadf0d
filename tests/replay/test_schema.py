"""`guideway config schema`: every example fits the schema, and common mistakes do not."""

import copy
import json
import subprocess
import tomllib

import jsonschema
import pytest
from support import binaries
from support.config import one_port, two_ports

EXAMPLES = sorted((binaries.ROOT / "examples").glob("*.toml"))
APPLIANCE = tomllib.loads((binaries.ROOT / "examples" / "appliance.toml").read_text())


def printed(what):
    line = [str(binaries.guideway()), "config", what]
    return subprocess.run(line, capture_output=True, text=True, timeout=30, check=True).stdout


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(printed("schema"))
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def test_the_examples_fit(validator):
    assert EXAMPLES
    for example in EXAMPLES:
        validator.validate(tomllib.loads(example.read_text()))


@pytest.mark.parametrize("make", (one_port, two_ports))
def test_the_configurations_of_these_tests_fit(validator, tmp_path, make):
    validator.validate(tomllib.loads(make().write(tmp_path / "guideway.toml").read_text()))


@pytest.mark.parametrize(
    ("path", "value"),
    (
        ("nod", {}),
        ("node.nmae", "a"),
        ("node.name", 1),
        ("node.name", "a b"),
        ("node.tunnel_source", ["192.0.2.1/24/8"]),
        ("hash.key", "0123"),
        ("hash.table_size", 1),
        ("dpdk.workers", 1),
        ("dpdk.workers", [1024]),
        ("dpdk.hugepages", "true"),
        ("dpdk.idle", "sleep"),
        ("dpdk.eal_args", ["--"]),
        ("flow.timeout", 60),
        ("flow.timeout.syn", 0),
        ("control.group", "a:b"),
        ("cluster", {}),
        ("port", []),
        ("port", {}),
        ("port.0.mtu", 9217),
        ("port.0.mtu", "1500"),
        ("port.0.device", "eth0"),
        ("port.0.addresses", ["192.0.2.1"]),
        ("port.0.mac", "02:00:00:00:00"),
        ("neighbor.0.address", "gateway"),
        ("pool.0.encapsulation", "greudp"),
        ("pool.0.encapsulation", ["gre", 1]),
        ("pool.0.mss_clamp", "Auto"),
        ("pool.0.gre_key", -1),
        ("pool.0.backends.0.weight", 1.5),
        ("pool.0.backends.0.wieght", 1),
        ("service.0.protocol", "TCP"),
        ("service.0.port", 65536),
        ("service.0.echo", 1),
    ),
)
def test_a_mistake_does_not_fit(validator, path, value):
    config = copy.deepcopy(APPLIANCE)
    assert validator.is_valid(config)
    *parents, key = (int(part) if part.isdigit() else part for part in path.split("."))
    place = config
    for parent in parents:
        place = place[parent]
    place[key] = value
    assert not validator.is_valid(config)


@pytest.mark.parametrize(("section", "key"), (("node", "name"), ("hash", "key"), ("dpdk", "workers")))
def test_what_is_required_may_not_be_missing(validator, section, key):
    for path in ((section,), (section, key)):
        config = copy.deepcopy(APPLIANCE)
        place = config if len(path) == 1 else config[section]
        del place[path[-1]]
        assert not validator.is_valid(config), path


def test_the_reference_is_the_page():
    assert printed("reference") == (binaries.ROOT / "docs" / "configuration.md").read_text()
