"""Configurations that take long: an endless path, a huge file, clients that send many mistakes."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from support.daemon import Daemon, live_one_port

MISTAKES = '[[pool]]\nname = "p"\nbackends = [' + "{}," * 300_000 + "]\n"  # 0.9 MB, two mistakes for each backend


@pytest.fixture(scope="module")
def peer(namespace):
    return namespace.cable("gw0")


def fifo(path):
    os.mkfifo(path)


def fifo_with_writer(path):
    """A pipe whose writer has begun to write and does not go on."""
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    os.write(writer, b"[node]\n")


def huge(path):
    with path.open("wb") as file:
        file.truncate(100_000_000)


def device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "message"),
    (
        (fifo, "it is a pipe and not a regular file"),
        (fifo_with_writer, "it is a pipe and not a regular file"),
        (device, "it is a device and not a regular file"),
        (huge, "it has more than 16 MiB"),
    ),
)
def test_a_path_without_an_end_is_refused_at_once(namespace, peer, directory, make, message):
    with Daemon(namespace, live_one_port("gw0", directory), directory) as daemon:
        daemon.path.unlink()
        make(daemon.path)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_log(message)
        begin = time.monotonic()
        done = daemon.ctl("config", "reload")
        assert done.returncode == 5 and message in done.stderr
        assert time.monotonic() - begin < 1
        code, seconds = daemon.stop()
    assert code == 0 and seconds < 3


@contextlib.contextmanager
def dead_mount(path):
    """A file system whose server never responds, like a network file system without a network. Yields a
    function that ends the server."""
    libc = ctypes.CDLL(None, use_errno=True)
    server = os.open("/dev/fuse", os.O_RDWR)
    path.mkdir()
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    try:
        if libc.mount(b"dead", bytes(path), b"fuse", 0, options) != 0:
            pytest.fail(f"cannot mount: {os.strerror(ctypes.get_errno())}")
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, server)
            server = None
            yield stack.close
    finally:
        if server is not None:
            os.close(server)
        libc.umount2(bytes(path), 2)  # MNT_DETACH


def lead_into(daemon, mount):
    """Replaces the daemon's configuration by a file of the mount, which the test itself must not open."""
    link = daemon.directory / "link"
    link.symlink_to(mount / "guideway.toml")
    link.rename(daemon.path)


def test_a_signal_ends_a_reload_from_a_dead_mount(namespace, peer, directory):
    mount = directory / "dead"
    with dead_mount(mount), Daemon(namespace, live_one_port("gw0", directory), directory) as daemon:
        lead_into(daemon, mount)
        daemon.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert "has not answered" not in daemon.log()
        code, seconds = daemon.stop()
        assert "the program is stopping" in daemon.log()
    assert code == 0 and seconds < 3


def test_reading_from_a_dead_mount_times_out(namespace, peer, directory):
    mount = directory / "dead"
    with dead_mount(mount) as end_server, Daemon(namespace, live_one_port("gw0", directory), directory) as daemon:
        good = daemon.path.read_text()
        lead_into(daemon, mount)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_log("its file system has not answered within 5 s")
        begin = time.monotonic()
        done = daemon.ctl("config", "reload")
        assert done.returncode == 5 and "an earlier read has not ended" in done.stderr
        assert time.monotonic() - begin < 1
        assert daemon.generation() == 1

        end_server()
        daemon.path.unlink()
        daemon.path.write_text(good)
        daemon.ask("config", "reload")
        assert daemon.generation() == 2
        code, _ = daemon.stop()
    assert code == 0


class Checker(threading.Thread):
    """A client that sends a text with mistakes to be checked, again and again until the end."""

    def __init__(self, path, end):
        super().__init__(daemon=True)
        self.path, self.end, self.responses, self.error = path, end, 0, None

    def run(self):
        request = json.dumps({"request": "config_check", "text": MISTAKES}).encode() + b"\n"
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(60)
                client.connect(str(self.path))
                stream = client.makefile("rb")
                assert b'"server"' in stream.readline()
                while not self.end.is_set():
                    client.sendall(request)
                    body = json.loads(stream.readline())["body"]
                    assert body["kind"] == "rejected", body["message"]
                    assert len(body["details"]) == 1001 and body["details"][-1].startswith("and "), body["details"][-1]
                    self.responses += 1
        except Exception as error:
            if not self.end.is_set():
                self.error = error


def resident(process):
    with Path(f"/proc/{process.pid}/status").open() as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def test_clients_with_mistakes_starve_no_one(namespace, peer, directory):
    """With 40 such clients others get responses, memory is bounded, and a signal still ends the daemon."""
    with Daemon(namespace, live_one_port("gw0", directory), directory) as daemon:
        # `ip netns exec` replaces itself by the program, so the process is the program's.
        before = resident(daemon.process)
        end = threading.Event()
        clients = [Checker(daemon.socket, end) for _ in range(40)]
        for client in clients:
            client.start()
        longest = 0
        for _ in range(20):
            begin = time.monotonic()
            daemon.ask("status")
            longest = max(longest, time.monotonic() - begin)
            time.sleep(0.1)
        grown = resident(daemon.process) - before
        assert not [client.error for client in clients if client.error]
        end.set()
        code, seconds = daemon.stop()
        for client in clients:
            client.join(60)
    print(f"status {longest:.2f} s, memory {grown:.0f} MiB, stop {seconds:.2f} s, {sum(c.responses for c in clients)} checks")
    assert code == 0
    assert longest < 3
    assert grown < 400
    assert seconds < 5
