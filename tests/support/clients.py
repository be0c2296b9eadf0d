"""Clients of the control socket, each a process of its own, so that they do not wait for each other in Python.

Run as a program with SOCKET and one line a request on stdin, it prints the seconds until each response and what the
response was.
"""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path


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
