"""Clients of the control socket: one in this process, and several, each a process of its own, so that they do not wait for
each other in Python.

Run as a program with SOCKET and one line a request on stdin, it prints the seconds until each response and what the
response was.
"""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path


class Connection:
    """A connection of this process, for many requests without a process for each."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self._lines.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._lines.close()
        self._socket.close()

    def ask(self, request, **fields):
        """The body of the response, which must be no error."""
        self.send(request, **fields)
        return self._next()

    def send(self, request, **fields):
        """Sends a request without waiting for the response."""
        self._socket.sendall(json.dumps({"request": request, **fields}).encode() + b"\n")

    def answer(self):
        """The body of the response to what was sent; None if the daemon has ended before."""
        try:
            return self._next()
        except (OSError, ValueError):
            return None

    def _next(self):
        response = json.loads(self._lines.readline())
        assert response["response"] != "error", response
        return response.get("body")

    def events(self):
        """Every event that the daemon keeps."""
        response = self.ask("monitor")
        found = response["events"]
        while response["more"]:
            response = self._next()
            found += response["events"]
        return found


class Client:
    """A process that sends requests one after the other, each as soon as the one before has its response."""

    def __init__(self, path, requests, pause=0.0):
        line = [sys.executable, __file__, str(path), str(pause)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True)
        self._requests = "".join(json.dumps(request) + "\n" for request in requests)

    def begin(self):
        self._process.stdin.write(self._requests)
        self._process.stdin.close()

    def results(self):
        """The seconds until each response, and the responses' kinds."""
        output = self._process.stdout.read()
        assert self._process.wait(60) == 0
        return json.loads(output)


def main():
    path, pause = Path(sys.argv[1]), float(sys.argv[2])
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(path))
    lines = client.makefile("rb")
    lines.readline()
    results = []
    for request in sys.stdin.buffer.readlines():
        begin = time.monotonic()
        client.sendall(request)
        response = lines.readline()
        results.append((time.monotonic() - begin, json.loads(response)["response"]))
        time.sleep(pause)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
