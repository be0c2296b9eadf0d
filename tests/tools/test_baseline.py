"""On a CPU below their baseline the programs end with a message instead of a crash.

qemu emulates the CPU. The programs under test must be built for the baseline of .cargo/config.toml, not
portable. The needs of libdpdk alone show in a portable `guideway`, which is built here.
"""

import os
import subprocess

import pytest
from support import binaries

PROGRAMS = ("guideway", "guidewayctl", "guideway-controller", "guideway-agent")
DPDK_NEEDS = "this libdpdk is built for a newer CPU (missing: "
DPDK_ADVICE = "); no DPDK runs without sse4.2; for anything else, build DPDK for this machine\n"


def on(cpu, program, *arguments, directory=None):
    line = ["qemu-x86_64", "-cpu", cpu, str((directory or binaries.directory()) / program), *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def portable():
    """The directory of a `guideway` that is built for any x86-64 CPU."""
    target = binaries.ROOT / "target/portable"
    line = ["cargo", "build", "--quiet", "--locked", "--package=guideway", f"--target-dir={target}"]
    subprocess.run(line, cwd=binaries.ROOT, env={**os.environ, "RUSTFLAGS": ""}, check=True, timeout=1200)
    return target / "debug"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "cpu, missing",
    (
        # The constructors of Debian's libdpdk need at least Nehalem.
        ("core2duo", "fma, sse4.1, sse4.2, movbe, popcnt, xsave, avx, f16c, bmi1, avx2, bmi2, lzcnt, aes"),
        ("Nehalem", "fma, movbe, xsave, avx, f16c, bmi1, avx2, bmi2, lzcnt, aes"),
        ("IvyBridge", "fma, movbe, bmi1, avx2, bmi2, lzcnt"),
        ("Haswell,-aes", "aes"),
        ("Haswell,-movbe", "movbe"),
    ),
)
def test_the_message_names_what_a_cpu_lacks(program, cpu, missing):
    done = on(cpu, program, "--version")
    assert done.returncode == 1, done.stderr
    message = f"{program}: this build needs an x86-64-v3 CPU with AES (missing: {missing}); "
    # Before this line qemu lists the CPU's features that it cannot emulate.
    assert done.stderr.splitlines()[-1].startswith(message)
    assert done.stderr.endswith("build it with ci/build.sh --portable for this machine\n")
    assert done.stdout == ""


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_oldest_sufficient_cpu_runs_the_programs(program):
    done = on("Haswell", program, "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{program} ")


def test_the_oldest_sufficient_cpu_checks_a_configuration():
    example = binaries.ROOT / "examples/appliance.toml"
    done = on("Haswell", "guideway", "check", "--config", str(example))
    assert done.returncode == 0, done.stderr
    assert "valid" in done.stdout


@pytest.mark.parametrize(
    "cpu, missing",
    (
        # qemu's oldest CPU; like all x86-64 CPUs but the first it has sse3 and cmpxchg16b.
        ("qemu64", "ssse3, sse4.1, sse4.2, popcnt"),
        ("core2duo", "sse4.1, sse4.2, popcnt"),
        ("Nehalem,-sse4.2", "sse4.2"),
    ),
)
def test_the_message_names_what_libdpdk_lacks(portable, cpu, missing):
    done = on(cpu, "guideway", "--version", directory=portable)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines(keepends=True)[-1] == f"guideway: {DPDK_NEEDS}{missing}{DPDK_ADVICE}"
    assert done.stdout == ""


def test_a_portable_program_runs_on_a_cpu_that_suits_libdpdk(portable):
    done = on("Nehalem", "guideway", "--version", directory=portable)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("zeroth, name", (("/a/b/other", "other"), ("other", "other"), ("", "")))
def test_the_message_names_the_program_as_it_was_called(zeroth, name):
    program = str(binaries.directory() / "guideway")
    line = ["qemu-x86_64", "-cpu", "core2duo", "-0", zeroth, program]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"{name}: this build needs ")
