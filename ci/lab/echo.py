#!/usr/bin/python3
"""Answers every UDP datagram with the server's name and the datagram.

    ci/lab/echo.py NAME PORT ADDRESS...

Bound to the virtual addresses themselves, so that answers come from them.
"""

import selectors
import signal
import socket
import sys


def main():
    name, port, addresses = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    selector = selectors.DefaultSelector()
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = socket.socket(family, socket.SOCK_DGRAM)
        server.bind((address, port))
        selector.register(server, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            data, source = key.fileobj.recvfrom(65535)
            key.fileobj.sendto(name.encode() + b" " + data, source)


if __name__ == "__main__":
    main()
