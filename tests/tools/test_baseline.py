"""On a CPU that lacks what the programs are built for they say so, and do not die of it.

The CPU is one that qemu emulates. The programs are those under test: they must be of a build for the
baseline of .cargo/config.toml, not of a portable one. What only libdpdk needs shows in a portable `guideway`,
which is built here.
"""

import os
import subprocess

import pytest
from support import binaries

PROGRAMS = ("guideway", "guidewayctl", "guideway-agent")
DPDK_NEEDS = "this libdpdk is built for a newer CPU (missing: "
DPDK_ADVICE = "); no DPDK runs without sse4.2; for anything else, build DPDK for this machine\n"


def on(cpu, program, *arguments, directory=None):
    line = ["qemu-x86_64", "-cpu", cpu, str((directory or binaries.directory()) / program), *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def portable():
    """Where `guideway` is, built for any x86-64 CPU."""
    target = binaries.ROOT / "target/portable"
    line = ["cargo", "build", "--quiet", "--locked", "--package=guideway", f"--target-dir={target}"]
    subprocess.run(line, cwd=binaries.ROOT, env={**os.environ, "RUSTFLAGS": ""}, check=True, timeout=1200)
    return target / "debug"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "cpu, missing",
    (
        # libdpdk's constructors, as Debian builds it, need no less than Nehalem.
        ("core2duo", "fma, sse4.1, sse4.2, movbe, popcnt, xsave, avx, f16c, bmi1, avx2, bmi2, lzcnt, aes"),
        ("Nehalem", "fma, movbe, xsave, avx, f16c, bmi1, avx2, bmi2, lzcnt, aes"),
        ("IvyBridge", "fma, movbe, bmi1, avx2, bmi2, lzcnt"),
        ("Haswell,-aes", "aes"),
        ("Haswell,-movbe", "movbe"),
    ),
)
def test_a_lesser_cpu_is_told_what_it_lacks(program, cpu, missing):
    done = on(cpu, program, "--version")
    assert done.returncode == 1, done.stderr
    said = f"{program}: this build needs an x86-64-v3 CPU with AES (missing: {missing}); "
    # Before it, qemu says what it cannot emulate of the CPU.
    assert done.stderr.splitlines()[-1].startswith(said)
    assert done.stderr.endswith("build it with ci/build.sh --portable for this machine\n")
    assert done.stdout == ""


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_oldest_cpu_that_will_do_does(program):
    done = on("Haswell", program, "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{program} ")


def test_the_oldest_cpu_that_will_do_checks_a_configuration():
    example = binaries.ROOT / "examples/appliance.toml"
    done = on("Haswell", "guideway", "check", "--config", str(example))
    assert done.returncode == 0, done.stderr
    assert "valid" in done.stdout


@pytest.mark.parametrize(
    "cpu, missing",
    (
        # qemu's oldest; it has sse3 and cmpxchg16b, as all x86-64 CPUs but the first have.
        ("qemu64", "ssse3, sse4.1, sse4.2, popcnt"),
        ("core2duo", "sse4.1, sse4.2, popcnt"),
        ("Nehalem,-sse4.2", "sse4.2"),
    ),
)
def test_a_cpu_that_libdpdk_cannot_run_on_is_told_so(portable, cpu, missing):
    done = on(cpu, "guideway", "--version", directory=portable)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines(keepends=True)[-1] == f"guideway: {DPDK_NEEDS}{missing}{DPDK_ADVICE}"
    assert done.stdout == ""


def test_a_portable_program_runs_on_what_libdpdk_needs(portable):
    done = on("Nehalem", "guideway", "--version", directory=portable)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("zeroth, name", (("/a/b/other", "other"), ("other", "other"), ("", "")))
def test_the_message_names_the_program_as_it_was_called(zeroth, name):
    program = str(binaries.directory() / "guideway")
    line = ["qemu-x86_64", "-cpu", "core2duo", "-0", zeroth, program]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"{name}: this build needs ")
