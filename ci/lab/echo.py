#!/usr/bin/python3
"""Answers every UDP datagram with the server's name and the datagram.

    ci/lab/echo.py NAME PORT ADDRESS...

Bound to the virtual addresses themselves, so that answers come from them. A datagram that cannot be
answered, because there is no route back or the answer is too long, has no answer.
"""

import selectors
import signal
import socket
import sys


def answer(server, name):
    """Answers the next datagram, if there is one still and its source can be reached."""
    try:
        # The kernel drops a datagram with a wrong checksum only now, and reports errors of the last answer.
        data, source = server.recvfrom(65535)
        server.sendto(name.encode() + b" " + data, source)
    except OSError:
        pass


def main():
    name, port, addresses = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    selector = selectors.DefaultSelector()
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = socket.socket(family, socket.SOCK_DGRAM)
        server.setblocking(False)
        server.bind((address, port))
        selector.register(server, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            answer(key.fileobj, name)


if __name__ == "__main__":
    main()
