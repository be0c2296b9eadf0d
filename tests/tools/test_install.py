"""How ci/install.sh gets Rust. The tools that would change the machine are stand-ins that record their calls."""

import shutil
import subprocess

import pytest
from support import binaries

SCRIPT = binaries.ROOT / "ci" / "install.sh"
REAL = ("bash", "basename", "cat", "cut", "dirname", "env", "grep", "head", "mktemp", "sed", "sort", "tail")
# Stand-ins that do nothing. If a tool is there, its package counts as installed.
HOLLOW = ("gcc", "pkg-config", "mmdebstrap", "git", "tee", "chmod", "rm")
MESSAGE = "there is no cargo. Get it from https://rustup.rs"

APT = """
case "$*" in
    'install --simulate rustup') exit $OFFERED ;;
    *rustup) {rustup} ;;
esac
"""
RUSTUP = """
[ "$*" = 'default stable' ] && [ $FETCHED = 0 ] || exit 1
printf '#!/bin/sh\\necho cargo 1.999.0\\n' >$TOOLS/cargo
/bin/chmod 755 $TOOLS/cargo
"""


class Machine:
    def __init__(self, directory):
        self.directory = directory
        self.tools = directory / "tools"
        self.tools.mkdir()
        (directory / "record").touch()
        for name in REAL:
            (self.tools / name).symlink_to(shutil.which(name))
        for name in HOLLOW:
            self.has(name, "cat >/dev/null" if name == "tee" else "")
        self.has("id", "echo ${USER_ID:-0}")
        rustup = self.tools / "rustup"
        self.script(directory / "rustup", RUSTUP)
        self.has("apt-get", APT.format(rustup=f"/bin/cp {directory / 'rustup'} {rustup}"))

    def script(self, path, text):
        path.write_text(f'#!/bin/bash\necho "{path.name} $*" >>{self.directory / "record"}\n{text}\n')
        path.chmod(0o755)

    def has(self, name, text):
        self.script(self.tools / name, text)

    def install(self, *purposes, offered=True, fetched=True, **environment):
        environment |= {"PATH": self.tools, "TOOLS": self.tools, "HOME": self.directory, "TMPDIR": self.directory}
        environment |= {"OFFERED": str(int(not offered)), "FETCHED": str(int(not fetched))}
        line = [shutil.which("bash"), SCRIPT, *purposes]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)
        record = (self.directory / "record").read_text().splitlines()
        tools = ("apt-get ", "rustup ")
        return done.returncode, done.stdout + done.stderr, [line for line in record if line.startswith(tools)]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


UPDATE = "apt-get update -q"
SIMULATE = "apt-get install --simulate rustup"
INSTALL = "apt-get install -q -y --no-install-recommends rustup"


def test_without_a_rustup_package_the_message_is_shown(machine):
    code, output, record = machine.install("build", offered=False)
    assert code == 1 and MESSAGE in output, output
    assert record == [UPDATE, SIMULATE]


def test_debians_rustup_is_installed_and_fetches_a_toolchain(machine):
    code, output, record = machine.install("build")
    assert code == 0, output
    assert record == [UPDATE, SIMULATE, UPDATE, INSTALL, "rustup default stable"]
    assert machine.install("build")[0] == 0
    assert machine.install("build")[2] == record, "nothing remains to do"


def test_a_rustup_that_gets_no_toolchain_is_reported(machine):
    code, output, _ = machine.install("build", fetched=False)
    assert code == 1 and "rustup did not get it" in output, output


def test_a_rustup_without_a_toolchain_needs_no_package(machine):
    shutil.copy(machine.directory / "rustup", machine.tools)
    machine.has("cargo", "exit 1")
    code, output, record = machine.install("build")
    assert code == 0, output
    assert record == ["rustup default stable"]


def test_without_root_the_message_is_shown(machine):
    code, output, record = machine.install("build", USER_ID="1000")
    assert code == 1 and MESSAGE in output, output
    assert record == []


def test_only_a_build_needs_rust(machine):
    code, output, record = machine.install("distro")
    assert code == 0 and record == [], output
