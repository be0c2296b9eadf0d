"""Daemons without a reader of their output: they go on, obey signals and clean up at the end."""

import os
import signal
import subprocess
import time

import pytest
from support import agent, binaries
from support.agent import VIP
from support.daemon import Daemon, live_one_port


class Stuck:
    """A full pipe without a reading process, or a pipe whose reader has gone."""

    def __init__(self, gone):
        self.reader, self.writer = os.pipe()
        if gone:
            os.close(self.reader)
            self.reader = None
            return
        os.set_blocking(self.writer, False)
        try:
            while True:
                os.write(self.writer, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(self.writer, True)

    def __enter__(self):
        return self.writer

    def __exit__(self, *_):
        os.close(self.writer)
        if self.reader is not None:
            os.close(self.reader)


class FullDisk:
    def __enter__(self):
        self.file = os.open("/dev/full", os.O_WRONLY)
        return self.file

    def __exit__(self, *_):
        os.close(self.file)


STREAMS = {"gone": lambda: Stuck(True), "stuck": lambda: Stuck(False), "full disk": FullDisk}


class Unread(Daemon):
    """A daemon whose log goes to a descriptor."""

    def __init__(self, *arguments, log):
        super().__init__(*arguments)
        self.stream = log

    def launch(self):
        self.config.write(self.path)
        line = self.namespace.command(binaries.guideway(), "run", "--config", self.path)
        self.process = subprocess.Popen(line, stdout=self.stream, stderr=self.stream, cwd=self.directory)

    def log(self):
        return "nobody reads the log"


@pytest.fixture(scope="module")
def peer(namespace):
    return namespace.cable("gw0")


@pytest.mark.parametrize("stream", STREAMS)
def test_the_forwarder_outlives_its_log(namespace, peer, directory, stream):
    with STREAMS[stream]() as log, Unread(namespace, live_one_port("gw0", directory), directory, log=log) as daemon:
        good = daemon.path.read_text()
        # More than a pipe holds, several times.
        daemon.path.write_text("colour = 1\n" * 900)
        for _ in range(5):
            daemon.process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        assert daemon.ask("status")["generation"] == 1
        daemon.path.write_text(good)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_generation(2)
        code, seconds = daemon.stop()
    assert code == 0
    assert seconds < 5


@pytest.mark.parametrize("stream", STREAMS)
def test_the_agent_outlives_its_reader(namespace, stream):
    line = namespace.command(binaries.directory() / "guideway-agent", "--vip", VIP[4])

    def addresses():
        command = namespace.command("ip", "-o", "address")
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout

    with STREAMS[stream]() as output:
        process = subprocess.Popen(line, stdout=output, stderr=output)
        try:
            end = time.monotonic() + 10
            while VIP[4] not in addresses():
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.05)
            for _ in range(3):
                process.send_signal(signal.SIGUSR1)
                time.sleep(0.2)
                assert process.poll() is None
            assert VIP[4] in addresses()
            process.terminate()
            assert process.wait(8) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    assert VIP[4] not in addresses() and agent.TUN not in addresses()


def test_the_thread_of_the_log_leaves_the_workers_alone(namespace, peer, directory):
    """The thread starts before the configuration is read, which has the workers' CPUs."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.fail("this test needs two CPUs")
    with Daemon(namespace, live_one_port("gw0", directory), directory) as daemon:
        [worker] = daemon.threads("worker0")
        [log] = daemon.threads("output")
        assert not os.sched_getaffinity(log) & os.sched_getaffinity(worker)
