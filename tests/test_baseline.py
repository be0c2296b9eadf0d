"""On a CPU that lacks what the programs are built for they say so, and do not die of it.

The CPU is one that qemu emulates. The programs are those under test: they must be of a build for the
baseline of .cargo/config.toml, not of a portable one.
"""

import subprocess

import pytest
from support import binaries

PROGRAMS = ("guideway", "guidewayctl", "guideway-agent")


def on(cpu, program, *arguments):
    line = ["qemu-x86_64", "-cpu", cpu, str(binaries.directory() / program), *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "cpu, missing",
    (
        # DPDK itself, as Debian builds it, needs no less than Nehalem.
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
