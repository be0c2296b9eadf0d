"""Messages of a failed start, and the files of a killed process."""

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
    """The messages of a start that fails under a limit of the shell."""
    path = config.write(directory / "guideway.toml")
    line = f'{limit} && exec "$0" run --config "$1"'
    done = subprocess.run(["sh", "-c", line, binaries.guideway(), path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done
    return done.stderr


def test_a_virtual_device_that_its_driver_refuses(directory):
    errors = refused(live_one_port("nosuch0", directory), directory)
    assert "Its driver refused it" in errors and "network namespace" in errors, errors
    assert "PCI device must be bound" not in errors, errors


def test_a_limit_of_memory_does_not_blame_hugepages(directory):
    errors = refused(null_port(directory), directory, "ulimit -v 200000")
    assert "ulimit -v" in errors and "hugepages = false" not in errors, errors


@pytest.mark.parametrize("limit", (6, 8, 10))
def test_a_limit_of_open_files_is_named(directory, limit):
    """The limit may stop the socket, a driver or a device."""
    errors = refused(null_port(directory), directory, f"ulimit -n {limit}")
    assert "ulimit -n" in errors and "file prefix" not in errors, errors
    assert errors.splitlines()[-1].count("Too many open files") <= 1, errors


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
