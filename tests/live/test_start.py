"""What a start that fails says, and what a killed process leaves behind."""

import signal
import subprocess
from pathlib import Path

import pytest
from support import binaries
from support.daemon import Daemon, live_one_port

RUNTIME = Path("/run/dpdk")


def null_port(directory):
    def change(config):
        config["port"][0]["device"] = "net_null0"

    return live_one_port("none", directory).changed(change)


def refused(config, directory, limit="true"):
    """The output of a start that fails under a limit of the shell."""
    path = config.write(directory / "guideway.toml")
    line = f'{limit} && exec "$0" run --config "$1"'
    done = subprocess.run(["sh", "-c", line, binaries.guideway(), path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done
    return done.stderr


def test_a_virtual_device_that_its_driver_refuses(directory):
    said = refused(live_one_port("nosuch0", directory), directory)
    assert "Its driver refused it" in said and "network namespace" in said, said
    assert "PCI device must be bound" not in said, said


def test_a_limit_of_memory_does_not_blame_hugepages(directory):
    said = refused(null_port(directory), directory, "ulimit -v 200000")
    assert "ulimit -v" in said and "hugepages = false" not in said, said


@pytest.mark.parametrize("limit", (6, 8, 10))
def test_a_limit_of_open_files_is_named(directory, limit):
    """Whatever it keeps from opening first: the socket, a driver, a device."""
    said = refused(null_port(directory), directory, f"ulimit -n {limit}")
    assert "ulimit -n" in said and "file prefix" not in said, said
    assert said.splitlines()[-1].count("Too many open files") <= 1, said


def test_a_killed_process_leaves_nothing_beyond_the_next_start(namespace, directory):
    with Daemon(namespace, null_port(directory), directory) as daemon:
        stale = RUNTIME / f"guideway-{daemon.process.pid}"
        assert stale.is_dir()
        assert daemon.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    assert stale.is_dir()
    with Daemon(namespace, null_port(directory), directory) as daemon:
        own = RUNTIME / f"guideway-{daemon.process.pid}"
        assert own.is_dir() and not stale.exists()
    assert not own.exists()
