"""Hundreds of connections and of UDP flows that are in use all the time, and the servers behind them.

A conversation asks again and again, and each answer names the server that gave it. So a test knows which server has
each conversation, when one moved, when one broke, and which datagrams were lost. All sockets are in one thread of this
process, each in the namespace of its host.
"""

import collections
import contextlib
import errno
import heapq
import random
import resource
import select
import socket
import struct
import threading
import time

from .packets import VIP

# Seconds between the requests of a conversation.
INTERVAL = 0.1
# Seconds in which a datagram is answered, else it is lost.
PATIENCE = 2
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
KIND = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
# A socket with it ends its connection by a RST, and its port is free at once.
ABORTING = struct.pack("ii", 1, 0)


class Server:
    """A server of the virtual addresses: it answers each line and each datagram with its name before it."""

    def __init__(self, name):
        self.name = name
        self.accepted = 0  # connections, those that have ended too
        self.sessions = set()  # the sockets of connections that have not ended


class Conversation:
    """A connection, or datagrams from one port."""

    def __init__(self, number, protocol, version, made):
        self.number = number
        self.version = version
        self.protocol = protocol
        self.socket = made
        self.server = None  # the one that answered last
        self.moves = []  # (time as time.monotonic(), server before, server after)
        self.broken = None  # (time, name of the error); a connection ends with it
        self.asked = self.answered = 0
        self.longest = 0.0  # seconds until an answer
        self.is_open = protocol == "udp"  # else once the connection is made
        self.is_closed = False  # by the test
        self._input = b""
        self._asked_at = 0.0

    @property
    def local(self):
        """Its address and port."""
        return self.socket.getsockname()[:2]

    def _fail(self, error):
        if self.broken is None:
            self.broken = (time.monotonic(), errno.errorcode.get(error, str(error)))

    def _ask(self, now):
        if self.protocol == "tcp" and self.asked > self.answered:
            return
        self.asked += 1
        self._asked_at = now
        try:
            self.socket.send(b"%d %d\n" % (self.number, self.asked))
        except OSError as error:
            self._fail(error.errno)

    def _hear(self):
        """Reads what has come. Returns whether the conversation goes on."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return True
        except OSError as error:
            self._fail(error.errno)
            return self.protocol == "udp"
        if not data:
            self._fail("closed")
            return False
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            self._answer(*line.decode().split())
        return True

    def _answer(self, server, number, sequence):
        now = time.monotonic()
        assert int(number) == self.number, f"{self.number} got the answer of {number}"
        assert self.protocol == "udp" or int(sequence) == self.answered + 1, f"answer {sequence} after {self.answered}"
        self.answered += 1
        if int(sequence) == self.asked:
            self.longest = max(self.longest, now - self._asked_at)
        if self.server not in (None, server):
            self.moves.append((now, self.server, server))
        self.server = server


class Conversations:
    """Conversations with servers, while a `with` block runs."""

    def __init__(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
        self.all = []
        self._poll = select.epoll()
        self._handlers = {}
        self._orders = collections.deque()
        self._due = []
        self._sockets = []
        self._failure = None
        self._ending = self._silent = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self._thread.join()
        for one in self._sockets:
            one.close()
        for conversation in self.all:
            conversation.socket.close()
        self._poll.close()

    def serve(self, host, name, ports):
        """Starts a server at the virtual addresses, which the host has. `ports`: (protocol, port) of each service."""
        server = Server(name)

        def listen():
            made = []
            for protocol, port in ports:
                for version, family in FAMILY.items():
                    one = socket.socket(family, KIND[protocol])
                    one.setblocking(False)
                    if protocol == "tcp":
                        # Connections of a server before may linger.
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    one.bind((VIP[version], port))
                    if protocol == "tcp":
                        one.listen(4096)
                    made.append((protocol, one))
            return made

        for protocol, one in host.inside(listen):
            self._sockets.append(one)
            handler = self._accept if protocol == "tcp" else self._echo
            self._watch(one, lambda _, handler=handler, one=one: handler(server, one))
        return server

    def open(self, host, count, port, protocol="tcp", version=4, local_ports=()):
        """Begins conversations from a host. `local_ports`: the ports that they begin from, by default free ones."""

        def connect():
            made = []
            for index in range(count):
                one = socket.socket(FAMILY[version], KIND[protocol])
                one.setblocking(False)
                if version == 6:
                    # A port of IPv4 may have the same number.
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if protocol == "tcp":
                    # A port can be used again soon if the socket before agreed too.
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if local_ports:
                    one.bind(("::" if version == 6 else "0.0.0.0", local_ports[index]))
                with contextlib.suppress(BlockingIOError):
                    one.connect((VIP[version], port))
                made.append(one)
            return made

        first = len(self.all)
        made = [Conversation(first + n, protocol, version, one) for n, one in enumerate(host.inside(connect))]
        self.all += made
        for conversation in made:
            self._orders.append(lambda of=conversation: self._begin(of))
        return made

    def opened(self, host, count, port, protocol="tcp", version=4, **options):
        """Begins conversations, and waits until each has had an answer."""
        made = self.open(host, count, port, protocol, version, **options)

        def silent():
            return [one.local for one in made if not one.answered and not one.broken]

        self.until(lambda: not silent(), 10, lambda: f"answers to {len(silent())} of {count}: {silent()[:5]}")
        broken = [one.broken for one in made if one.broken]
        assert not broken, f"{len(broken)} of {count}: {broken[:5]}"
        return made

    def until(self, condition, seconds, what):
        """Waits until a condition holds. `what`: a text, or a function that gives it."""
        end = time.monotonic() + seconds
        while not condition():
            self.check()
            assert time.monotonic() < end, f"not in {seconds} s: {what() if callable(what) else what}"
            time.sleep(0.01)

    def check(self):
        """Fails if the thread has failed."""
        if self._failure:
            raise self._failure

    def lost(self, conversations):
        """How many datagrams were not answered. Nobody asks meanwhile."""
        self._silent = True
        try:
            end = time.monotonic() + PATIENCE
            while (lost := sum(one.asked - one.answered for one in conversations)) and time.monotonic() < end:
                time.sleep(0.01)
            self.check()
            return lost
        finally:
            self._silent = False

    def close(self, conversations, abort=False):
        """Ends conversations: a connection by a FIN, or by a RST."""
        done = threading.Event()

        def end():
            for conversation in conversations:
                conversation.is_open, conversation.is_closed = False, True
                self._forget(conversation.socket)
                if abort:
                    conversation.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORTING)
                conversation.socket.close()
            done.set()

        self._orders.append(end)
        self.until(done.is_set, 5, "an end")

    def _watch(self, one, handler, events=select.EPOLLIN):
        self._handlers[one.fileno()] = handler
        self._poll.register(one, events)

    def _forget(self, one):
        self._handlers.pop(one.fileno(), None)
        with contextlib.suppress(OSError):
            self._poll.unregister(one)

    def _run(self):
        try:
            while not self._ending:
                self._round()
        except Exception as failure:
            self._failure = failure

    def _round(self):
        now = time.monotonic()
        while self._orders:
            self._orders.popleft()()
        while self._due and self._due[0][0] <= now:
            due, number = heapq.heappop(self._due)
            conversation = self.all[number]
            if conversation.is_open:
                if not self._silent:
                    conversation._ask(now)
                heapq.heappush(self._due, (max(due + INTERVAL, now), number))
        pause = min(self._due[0][0] - time.monotonic(), 0.02) if self._due else 0.02
        for descriptor, events in self._poll.poll(max(0, pause)):
            # An event before may have ended this one.
            handler = self._handlers.get(descriptor)
            if handler:
                handler(events)

    def _begin(self, conversation):
        events = select.EPOLLIN
        if conversation.is_open:
            self._start(conversation)
        else:
            events |= select.EPOLLOUT
        self._watch(conversation.socket, lambda events: self._talk(conversation, events), events)

    def _start(self, conversation):
        conversation.is_open = True
        # Not all at once, ever after.
        heapq.heappush(self._due, (time.monotonic() + random.uniform(0, INTERVAL), conversation.number))

    def _talk(self, conversation, events):
        if not conversation.is_open:
            # The connection is made or refused.
            error = conversation.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                conversation._fail(error)
                self._forget(conversation.socket)
                return
            self._poll.modify(conversation.socket, select.EPOLLIN)
            self._start(conversation)
        if events & ~select.EPOLLOUT and not conversation._hear():
            conversation.is_open = False
            self._forget(conversation.socket)

    def _accept(self, server, listening):
        with contextlib.suppress(BlockingIOError):
            while True:
                session, _ = listening.accept()
                session.setblocking(False)
                server.accepted += 1
                server.sessions.add(session)
                self._watch(session, lambda _, session=session: self._serve(server, session))

    def _serve(self, server, session):
        try:
            data = session.recv(65536)
            lines = data.split(b"\n")[:-1]
            session.send(b"".join(b"%s %s\n" % (server.name.encode(), line) for line in lines))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._forget(session)
            session.close()
            server.sessions.discard(session)

    def _echo(self, server, one):
        # An error of an earlier answer comes here too.
        with contextlib.suppress(OSError):
            while True:
                data, source = one.recvfrom(65535)
                one.sendto(server.name.encode() + b" " + data, source)
