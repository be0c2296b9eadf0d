"""The scripts of benches/, which have a module `support` of their own."""

import json
import subprocess
import sys

from .binaries import ROOT


def evaluated(module, expression, given=None, before=""):
    """The value of an expression over a module of benches/, in which `given` is this value, and after these lines."""
    code = f"import {module}, json, sys\ngiven = json.load(sys.stdin)\n{before}\nprint(json.dumps({expression}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, cwd=ROOT / "benches", check=True
    )
    return json.loads(done.stdout)
