"""Sends a frame at an even pace with random words in it, until SIGTERM. Prints `ready`, and at last how many it sent.

    flood.py INTERFACE FRAME PER_SECOND WORD[:BALANCE]...

WORD is the offset of a random 16-bit word. BALANCE is that of a word that changes with it, so that an Internet
checksum over both stays right.
"""

import contextlib
import os
import signal
import socket
import sys
import time


def main(interface, frame, per_second, *words):
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    frame, rate = bytearray.fromhex(frame), int(per_second)
    words = [tuple(map(int, word.split(":"))) for word in words]

    def at(offset):
        return int.from_bytes(frame[offset : offset + 2], "big")

    sums = {word: sum(map(at, word)) % 0xFFFF for word in words if len(word) == 2}
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    out.bind((interface, 0))
    print("ready", flush=True)
    sent, begin = 0, time.monotonic()
    while not ending:
        for word in words:
            frame[word[0] : word[0] + 2] = os.urandom(2)
            if word in sums:
                balance = (sums[word] - at(word[0])) % 0xFFFF
                frame[word[1] : word[1] + 2] = balance.to_bytes(2, "big")
        # A full queue of the interface is no reason to end.
        with contextlib.suppress(OSError):
            out.send(frame)
            sent += 1
        ahead = begin + sent / rate - time.monotonic()
        if ahead > 0.002:
            time.sleep(ahead)
    print(sent)


if __name__ == "__main__":
    main(*sys.argv[1:])
