"""Sends a frame at an even pace with random words in it, until SIGTERM. Prints `ready`, and at last how many it sent.

    flood.py INTERFACE FRAME PER_SECOND WORD[:BALANCE]...

WORD is the offset of a random 16-bit word. BALANCE is that of a word that changes with it, so that an Internet
checksum over both stays right. Frames that are due at the same time go to the kernel in one call.
"""

import ctypes
import os
import signal
import socket
import sys
import time

# Frames of one call at most.
MOST = 64


class Part(ctypes.Structure):
    """struct iovec"""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Message(ctypes.Structure):
    """struct mmsghdr: a struct msghdr, and how many bytes were sent."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.POINTER(Part)),
        ("parts_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint32),
    )


class Batch:
    """Copies of a frame that one call sends."""

    def __init__(self, frame, words):
        self.length = len(frame)
        self.bytes = bytearray(frame * MOST)
        self.words = words
        at = self._at
        self.sums = {word: sum(at(offset) for offset in word) % 0xFFFF for word in words if len(word) == 2}
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        self.parts = (Part * MOST)(*(Part(base + n * self.length, self.length) for n in range(MOST)))
        self.messages = (Message * MOST)()
        for message, part in zip(self.messages, self.parts, strict=True):
            message.parts, message.parts_length = ctypes.pointer(part), 1
        self.call = ctypes.CDLL(None, use_errno=True).sendmmsg

    def _at(self, offset):
        return int.from_bytes(self.bytes[offset : offset + 2], "big")

    def vary(self, count):
        """Draws the random words of the first frames."""
        for word in self.words:
            random = os.urandom(2 * count)
            for number in range(count):
                offset = number * self.length + word[0]
                self.bytes[offset : offset + 2] = random[2 * number : 2 * number + 2]
                if word in self.sums:
                    balance = (self.sums[word] - self._at(offset)) % 0xFFFF
                    offset = number * self.length + word[1]
                    self.bytes[offset : offset + 2] = balance.to_bytes(2, "big")

    def send(self, out, count):
        """Returns how many the kernel took. A full queue of the interface is no reason to end."""
        return max(0, self.call(out.fileno(), self.messages, count, 0))


def main(interface, frame, per_second, *words):
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    batch = Batch(bytes.fromhex(frame), [tuple(map(int, word.split(":"))) for word in words])
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    out.bind((interface, 0))
    print("ready", flush=True)
    rate, sent, begin = int(per_second), 0, time.monotonic()
    while not ending:
        due = int((time.monotonic() - begin) * rate) - sent
        if due <= 0:
            time.sleep(min(0.002, 1 / rate))
            continue
        count = min(due, MOST)
        batch.vary(count)
        sent += batch.send(out, count)
    print(sent)


if __name__ == "__main__":
    main(*sys.argv[1:])
