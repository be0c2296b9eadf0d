"""Tests of the programs as they are: `guideway`, `guidewayctl`, driven from outside.

To run them alone, from the root of the repository:

    cargo build --workspace
    /usr/bin/python3 -m pytest tests -q

They take the newer of target/release and target/debug, or the programs in $GUIDEWAY_BIN_DIR. Debian's
packages python3-pytest, python3-scapy, tshark, ethtool and iproute2 are needed, and for the lab nginx,
iputils-ping and traceroute (`ci/install.sh` has them all). `tests/replay` and `tests/tools` need
neither root nor a network; `tests/live` needs root: it makes network namespaces of its own and takes them
down.
"""

import os
import tempfile
from pathlib import Path

import pytest
from support import binaries, replay
from support.network import Namespace


def pytest_configure(config):
    try:
        binaries.guideway()
    except FileNotFoundError as missing:
        pytest.exit(str(missing), returncode=1)


@pytest.fixture
def run_replay(tmp_path):
    """Replays captures; the run must succeed and its counts must add up."""

    def run(config, captures, *arguments, **options):
        if not isinstance(captures, dict):
            captures = {config["port"][0]["name"]: captures}
        return replay.run_ok(tmp_path, config, captures, arguments, **options)

    return run


@pytest.fixture(scope="session")
def root():
    assert os.geteuid() == 0, "the live tests need root; without it run tests/replay and tests/tools"


@pytest.fixture(scope="module")
def namespace(root):
    with Namespace() as made:
        yield made


@pytest.fixture
def directory():
    """A place with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="guideway-") as name:
        yield Path(name)
