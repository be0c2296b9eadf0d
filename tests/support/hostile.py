"""A server that misbehaves, each port in its own way. Prints `ready` once all listen.

    hostile.py PORT:WAY...

`WAYS` has the ways. It listens at every address, of both families.
"""

import contextlib
import socket
import struct
import sys
import threading
import time

ABORTING = struct.pack("ii", 1, 0)
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\nContent-Type: text/plain\r\n\r\n"


def hear(session):
    with contextlib.suppress(OSError):
        session.recv(65536)


def silence(session):
    """Accepts, and says nothing."""
    while session.recv(65536):
        pass


def reset(session):
    """Resets the connection once it has heard something."""
    hear(session)
    abort(session)


def reset_inside(session):
    """Resets the connection in the middle of its answer."""
    hear(session)
    session.sendall(RESPONSE + b"half of")
    time.sleep(0.02)
    abort(session)


def close(session):
    """Ends the connection without an answer."""
    hear(session)


def drip(session):
    """A byte a second."""
    hear(session)
    for byte in RESPONSE:
        session.sendall(bytes([byte]))
        time.sleep(1)


def drip_body(session):
    """The head at once, then a byte a second."""
    hear(session)
    session.sendall(RESPONSE)
    for byte in b"expected are these..":
        session.sendall(bytes([byte]))
        time.sleep(1)


def garbage(session):
    """Answers in no protocol."""
    hear(session)
    session.sendall(bytes(range(256)))


def banner(session):
    """Says who it is, as mail servers do, and answers a line by the same."""
    session.sendall(b"220 ready\r\n")
    while data := session.recv(65536):
        session.sendall(b"250 " + data)


def abort(session):
    session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORTING)


WAYS = {"silence": silence, "reset": reset, "reset-inside": reset_inside, "close": close, "drip": drip, "drip-body": drip_body,
        "garbage": garbage, "banner": banner}  # fmt: skip


def listening(port, kind):
    made = socket.socket(socket.AF_INET6, kind)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("::", port))
    return made


def serve(one, way):
    def act(session):
        # Whoever is served may go away.
        with contextlib.suppress(OSError), session:
            way(session)

    while True:
        threading.Thread(target=act, args=(one.accept()[0],), daemon=True).start()


def main(*ports):
    threads = []
    for word in ports:
        port, _, way = word.partition(":")
        one = listening(int(port), socket.SOCK_STREAM)
        one.listen(1024)
        threads.append(threading.Thread(target=serve, args=(one, WAYS[way]), daemon=True))
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
