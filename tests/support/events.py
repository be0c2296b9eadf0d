"""A client of the control socket that speaks the protocol itself, and follows the daemon's events."""

import json
import socket
import time


class Connection:
    """A connection to a control socket, greeted."""

    def __init__(self, path, receive_buffer=None):
        self.socket = socket.socket(socket.AF_UNIX)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self._lines = self.socket.makefile("rb")
        self.greeting = self.line()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._lines.close()
        self.socket.close()

    def line(self):
        """The next line; None at the end."""
        line = self._lines.readline()
        return json.loads(line) if line else None

    def send(self, request, **fields):
        self.socket.sendall(json.dumps({"request": request, **fields}).encode() + b"\n")

    def ask(self, request, **fields):
        """The response to a request."""
        self.send(request, **fields)
        return self.line()


class Monitor(Connection):
    """Follows the events. Whatever is read is in `events` and counted in `lost`, and must be without a gap."""

    def __init__(self, path, since=None, kinds=(), **options):
        super().__init__(path, **options)
        self.events, self.lost, self._all = [], 0, not kinds
        self._next = since or None
        fields = {} if since is None else {"since": since}
        self.send("monitor", kinds=list(kinds), follow=True, **fields)
        self.read()

    def read(self):
        """Reads one response. Returns its events; None at the end."""
        line = self.line()
        if line is None:
            return None
        assert line["response"] == "events", line
        body = line["body"]
        self.lost += body["lost"]
        for event in body["events"]:
            if self._all and self._next is not None:
                assert event["sequence"] == self._next + body["lost"], (event, self._next, body["lost"])
            body["lost"] = 0
            self._next = event["sequence"] + 1
        self.events += body["events"]
        return body["events"]

    def until(self, event, seconds=10, **fields):
        """Reads until there is an event of this kind with these fields, and returns the last one."""
        end = time.monotonic() + seconds
        seen = 0
        while True:
            for known in self.events[seen:]:
                if known["event"] == event and fields.items() <= known.items():
                    return known
            seen = len(self.events)
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                assert self.read() is not None, f"closed before {event} {fields}"
            except TimeoutError:
                raise AssertionError(f"no {event} {fields} among {self.events[-20:]}") from None


def kept(path, since=None, kinds=()):
    """The events that the daemon keeps, and how many were lost before them."""
    fields = {} if since is None else {"since": since}
    with Connection(path) as client:
        client.send("monitor", kinds=list(kinds), **fields)
        events, lost = [], 0
        while True:
            body = client.line()["body"]
            events += body["events"]
            lost += body["lost"]
            if not body["more"]:
                return events, lost
