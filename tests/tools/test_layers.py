"""Which crates are in which program: neither daemon contains the other, so they can only meet at the control socket."""

import json
import re
import subprocess

import pytest
from support.binaries import ROOT

CONTROLLER = {"guideway-controller"}
FORWARDER = {"guideway", "guideway-management", "dpdk-sys"}


@pytest.fixture(scope="module")
def graph():
    """The crates that each crate is built with, by name. Crates of tests alone are left out."""
    line = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    metadata = json.loads(done.stdout)
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    graph = {}
    for node in metadata["resolve"]["nodes"]:
        # A kind of None is a dependency of the program, "build" one of its build script.
        used = [one["pkg"] for one in node["deps"] if any(kind["kind"] != "dev" for kind in one["dep_kinds"])]
        graph.setdefault(names[node["id"]], set()).update(names[package] for package in used)
    return graph


def all_of(graph, name):
    """A crate with everything that it is built with."""
    found, waiting = set(), [name]
    while waiting:
        crate = waiting.pop()
        if crate not in found:
            found.add(crate)
            waiting += graph[crate]
    return found


def test_the_graph_is_that_of_the_programs(graph):
    """What the other tests would not find in an empty graph."""
    assert all_of(graph, "guideway") >= FORWARDER | {"guideway-core", "guideway-chassis", "tracing"}
    assert all_of(graph, "guideway-controller") >= {"guideway-client", "guideway-chassis", "guideway-config"}


def test_no_crate_of_the_controller_is_in_the_forwarder(graph):
    assert not all_of(graph, "guideway") & CONTROLLER


def test_no_crate_of_the_forwarder_is_in_the_controller(graph):
    assert not all_of(graph, "guideway-controller") & FORWARDER


def test_no_crate_that_both_have_knows_either(graph):
    shared = all_of(graph, "guideway") & all_of(graph, "guideway-controller")
    for crate in shared:
        assert not all_of(graph, crate) & (FORWARDER | CONTROLLER), crate


def test_the_forwarder_speaks_no_tls(graph):
    """Backends are checked by the controller, and by it alone."""
    speakers = {"rustls", "ring", "tokio-rustls", "rustls-native-certs", "x509-cert"}
    assert all_of(graph, "guideway-controller") >= speakers
    assert not all_of(graph, "guideway") & speakers


def test_the_controller_reaches_the_forwarder_in_one_place():
    """By the protocol's client at the path that --forwarder gives. What runs is watched by
    a_controller_only_reads_and_only_at_the_control_socket in controller/tests/program/life.rs."""
    opening = re.compile(r"Client::connect|UnixStream::connect|TcpStream::connect|UnixDatagram")
    source = ROOT / "controller" / "src"
    files = {}
    for path in sorted(source.rglob("*.rs")):
        program, *_ = path.read_text().split("#[cfg(test)]\nmod tests")
        if opening.search(program):
            files[path.relative_to(source).parts[0]] = program
    # The other daemon that the controller talks to is BIRD.
    assert set(files) <= {"forwarder", "bird"} and "forwarder" in files, set(files)
    for word in ("hugepages", "rte_", "/dev/shm", "/var/run/dpdk"):
        for path in source.rglob("*.rs"):
            assert word not in path.read_text() or path.name == "testing.rs", (word, path)
