"""A systemd unit with drop-ins: its permissions, and a program that runs with these only.

PID 1 of a test machine need not be systemd. So other tools make the parts of the sandbox that can stop a
program: the capabilities (setpriv) and the read-only file system (unshare, mount). strace records the
system calls, which are compared with the unit afterwards.
"""

import re
import subprocess
import time
from pathlib import Path

from . import binaries
from .users import GROUP, USER

PACKAGING = binaries.ROOT / "packaging"

# Arguments: directories that stay writable; `--`; the command.
READ_ONLY = """
while [ "$1" != -- ]; do
    [ -e "$1" ] && mount --bind "$1" "$1" && writable="$writable $1"
    shift
done
shift
for mount in $(findmnt -rno TARGET | sort -u); do
    case "$mount" in /proc | /proc/* | /dev | /dev/*) continue ;; esac
    case " $writable " in *" $mount "*) continue ;; esac
    mount -o remount,bind,ro "$mount"
done
exec "$@"
"""


class Unit:
    def __init__(self, name, *drop_ins):
        files = [PACKAGING / name, *(PACKAGING / "drop-ins" / drop_in for drop_in in drop_ins)]
        self._lines = [line for file in files for line in file.read_text().splitlines()]

    def lines(self, key):
        """The values of a setting that may be given several times."""
        return [line.partition("=")[2] for line in self._lines if line.startswith(key + "=")]

    def values(self, key):
        """The words of these values."""
        return [word for line in self.lines(key) for word in line.split()]

    def capabilities(self):
        return [name.removeprefix("CAP_").lower() for name in self.values("CapabilityBoundingSet")]

    def system_calls(self):
        """Those of the lines in their order. A line that begins with `~` takes its calls away."""
        calls = set()
        for line in self.lines("SystemCallFilter"):
            named = {call for name in line.lstrip("~").split() for call in _expanded(name)}
            calls = calls - named if line.startswith("~") else calls | named
        return calls

    def prepare(self):
        """Runs the unit's preparations, which have no sandbox (`+`)."""
        for line in self._lines:
            if line.startswith("ExecStartPre=+"):
                subprocess.run(line.partition("+")[2].split(), check=True, timeout=30)

    def command(self, directory, line, more_capabilities=(), wrapper=()):
        """The command line, in the sandbox. `directory` is used as the unit's RuntimeDirectory."""
        bounding = ["-all", *("+" + name for name in [*self.capabilities(), *more_capabilities])]
        writable = [directory, *(path.lstrip("-") for path in self.values("ReadWritePaths"))]
        # Another user and another group than the unit's, which the machine need not have.
        groups = ["--regid", GROUP.gr_name, "--clear-groups"] if self.values("Group") else []
        user = ["--reuid", USER.pw_name] if self.values("User") else []
        ambient = [f"+{name.removeprefix('CAP_').lower()}" for name in self.values("AmbientCapabilities")]
        inherited = ",".join(["-all", *ambient])
        return [
            *("env", f"RUNTIME_DIRECTORY={directory}"),
            *("unshare", "--mount", "sh", "-euc", "writable=; " + READ_ONLY, "sh", *writable, "--"),
            *("setpriv", "--no-new-privs", "--inh-caps", inherited, "--ambient-caps", inherited),
            *("--bounding-set", ",".join(bounding), *user, *groups),
            *wrapper,
            *line,
        ]


def _expanded(name):
    """The system calls of one of systemd's sets (`@name`), or the one call."""
    if not name.startswith("@"):
        return {name}
    done = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    entries = [line.strip() for line in done.stdout.splitlines()[1:]]
    return {call for entry in entries if entry and not entry.startswith("#") for call in _expanded(entry)}


class Trace:
    """The system calls of a program that runs under `wrapper`. The traced process is the one that was
    started; the tracer is a grandchild of it."""

    def __init__(self, path):
        self._path = Path(path)
        self.wrapper = ["strace", "-D", "-f", "-q", "-o", self._path]
        self._text = ""

    def wait(self, pid):
        """Waits until the tracer has recorded the end of the process."""
        end = time.monotonic() + 10
        while not re.search(rf"^{pid} +\+\+\+ exited", self._text, re.MULTILINE):
            assert time.monotonic() < end, self._text[-2000:]
            time.sleep(0.05)
            self._text = self._path.read_text(errors="replace")

    def check(self, unit, refused=()):
        """Asserts that the unit allows all system calls, except those that it may refuse."""
        calls = set(re.findall(r"^\d+ +(\w+)\(", self._text, re.MULTILINE))
        assert {"execve", "mmap", "exit_group"} <= calls, calls
        assert calls - unit.system_calls() <= set(refused)
        families = set(re.findall(r" socket\((AF_\w+)", self._text))
        assert families and families <= set(unit.values("RestrictAddressFamilies"))
        # RestrictNamespaces, RestrictRealtime, LockPersonality.
        assert not calls & {"setns", "unshare", "sched_setscheduler", "sched_setparam", "personality"}
        assert "CLONE_NEW" not in self._text
        # MemoryDenyWriteExecute.
        assert not re.search(r"mmap\(.*PROT_WRITE\|PROT_EXEC|mprotect\(.*PROT_EXEC", self._text)
        # DevicePolicy=closed allows the usual pseudo devices. The unit names the others.
        opened = set(re.findall(r'open(?:at)?\((?:AT_FDCWD, )?"(/dev/[^"]+)"[^=]*= \d', self._text))
        pseudo = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}
        assert opened - pseudo <= set(unit.values("DeviceAllow"))
