"""Users other than root."""

import grp
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import binaries

# Every Debian has this group, and root is no member of it.
GROUP = grp.getgrnam("games")
USER = pwd.getpwnam("games")
NOBODY = 65534


def ask_as_nobody(socket, *groups, request=("status",)):
    """Runs a command of `guidewayctl` as a user who is in these groups only."""
    membership = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    with tempfile.TemporaryDirectory(prefix="guideway-") as name:
        # Only root may be able to enter the checkout.
        Path(name).chmod(0o755)
        program = shutil.copy(binaries.guidewayctl(), name)
        line = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, *membership, program, "--socket", socket, *request]
        return subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=30)
