"""Users other than root."""

import grp
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import binaries

# One that every Debian has, and that root is no member of.
GROUP = grp.getgrnam("games")
NOBODY = 65534


def ask_as_nobody(socket, *groups):
    """`guidewayctl status` of a user who is in these groups and no other."""
    membership = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    with tempfile.TemporaryDirectory(prefix="guideway-") as name:
        # The checkout may be where only root goes.
        Path(name).chmod(0o755)
        program = shutil.copy(binaries.guidewayctl(), name)
        line = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, *membership, program, "--socket", socket, "status"]
        return subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=30)
