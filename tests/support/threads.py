"""One thread of a process stands still."""

import contextlib
import ctypes
import os

PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000


@contextlib.contextmanager
def stopped(task):
    """Stops one thread, as a debugger does. The others go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def trace(request):
        assert libc.ptrace(request, task, None, None) == 0, os.strerror(ctypes.get_errno())

    trace(PTRACE_SEIZE)
    trace(PTRACE_INTERRUPT)
    os.waitpid(task, WALL)
    try:
        yield
    finally:
        trace(PTRACE_DETACH)
