#!/usr/bin/python3
"""Replies to every UDP datagram with the server's name and the datagram.

    ci/lab/echo.py NAME PORT ADDRESS...

Its sockets are bound to the virtual addresses, so that replies come from them. Sends no reply if there is no
route back, or if the reply would be too long.
"""

import selectors
import signal
import socket
import sys


def reply(server, name):
    """Replies to the next datagram, if there is one and its source can be reached."""
    try:
        # Only now does the kernel drop a datagram with a wrong checksum, and report errors of the last reply.
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
            reply(key.fileobj, name)


if __name__ == "__main__":
    main()
