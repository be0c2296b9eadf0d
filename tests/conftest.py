"""Tests of the programs from outside: `guideway`, `guidewayctl`, `guideway-agent`.

tests/README.md describes how to run them, and what they need.
"""

import os
import tempfile
from pathlib import Path

import pytest
from support import binaries, network, replay
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
    with network.probes_each_second():
        yield


@pytest.fixture(scope="module")
def namespace(root):
    with Namespace() as made:
        yield made


@pytest.fixture
def directory():
    """A directory whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="guideway-") as name:
        yield Path(name)
