"""How a node's forwarder fails without an end: it does as long as a `with` block runs."""

import contextlib
import signal

from .threads import stopped


@contextlib.contextmanager
def stop(node):
    node.daemon.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        node.daemon.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def stall(node):
    [task] = node.daemon.threads("worker0")
    with stopped(task):
        yield


@contextlib.contextmanager
def unplug(node):
    node.plug("down")
    try:
        yield
    finally:
        node.plug("up")


FAILURES = {"stopped": stop, "a worker stalls": stall, "no link": unplug}
