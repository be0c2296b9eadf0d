"""ci/lab.sh and other scripts check their options before they ask for root or build anything.

Here `id` reports that the user is not root, and `sudo` prints its arguments and fails. A mistake that is found
after that point is found too late. `cargo` fails too.
"""

import os
import subprocess

import pytest
from support import binaries, encapsulations

SCRIPT = binaries.ROOT / "ci" / "lab.sh"
FUZZ = binaries.ROOT / "ci" / "fuzz.sh"
DISTRO = binaries.ROOT / "ci" / "distro.sh"
RUN = binaries.ROOT / "ci" / "run.sh"
VALUED = ("--dir", "--bin", "--workers", "--encapsulation", "--clients-mtu", "--fabric-mtu", "--driver", "--steering")
VALUED += ("--device", "--uplink", "--idle", "--tunnels")
VM = binaries.ROOT / "ci" / "vm.sh"
VM_WRONG = {
    (): "ci/vm.sh shell",
    ("list", "all"): "ci/vm.sh shell",
    ("test", "igbb"): "no case 'igbb'; see --list",
    ("test", "--all", "igb"): "either --all or cases",
    ("test", "--some"): "unrecognized arguments: --some",
}
SUDO_FAILS = 99
CPU = str(min(os.sched_getaffinity(0)))
ENCAPSULATIONS = " ".join(encapsulations.of_lab())

WRONG = {
    ("--dir", "with space"): "--dir: '{cwd}/with space' has other characters than A-Z a-z 0-9 / . _ + -",
    ("--dir", '/a"b'): "--dir: '/a\"b' has other characters than A-Z a-z 0-9 / . _ + -",
    ("--dir", "/" + "x" * 80): f"--dir: '/{'x' * 80}' has more than 80 characters, too many for the sockets in it",
    ("--driver", "af_pakcet"): "--driver: 'af_pakcet' is none of: af_packet af_xdp",
    ("--driver", "af_packet af_xdp"): "--driver: 'af_packet af_xdp' is none of: af_packet af_xdp",
    ("--steering", "queue"): "--steering: 'queue' is none of: auto queues ring",
    ("--workers", "a"): "--workers: 'a' is no list of CPUs; write for example \"0 1\"",
    ("--workers", "0,1"): "--workers: '0,1' is no list of CPUs; write for example \"0 1\"",
    ("--workers", "*"): "--workers: '*' is no list of CPUs; write for example \"0 1\"",
    ("--workers", " "): "--workers: ' ' is no list of CPUs; write for example \"0 1\"",
    ("--workers", f"{CPU} {CPU}"): f"--workers: CPU {CPU} is there twice; each worker needs its own",
    ("--workers", "9999"): "--workers: this process may not use CPU 9999; it uses ",
    ("--fabric-mtu", "1499"): "--fabric-mtu: '1499' is no number from 1500 to 9216",
    ("--fabric-mtu", "9217"): "--fabric-mtu: '9217' is no number from 1500 to 9216",
    ("--fabric-mtu", "1600 "): "--fabric-mtu: '1600 ' is no number from 1500 to 9216",
    ("--clients-mtu", "9217"): "--clients-mtu: '9217' is no number from 1500 to 9216",
    ("--clients-mtu", "1601"): "--clients-mtu: 1601 is more than --fabric-mtu, which is 1600",
    ("--device", 'a"b', "--uplink", "lo"): "--device: 'a\"b' is no PCI address, such as 0000:3b:00.0, and no virtual device",
    ("--device", "0000:3b:00.0"): "--device needs --uplink: the interface at the other end of the cable",
    ("--uplink", "lo"): "--uplink is of use with --device only",
    ("--uplink", "none0"): "--uplink: there is no interface 'none0'; see: ip link",
    ("--idle", "sleep"): "--idle: 'sleep' is none of: poll pause interrupt",
    ("--tunnels", "none"): "--tunnels: 'none' is none of: agent kernel",
    ("--tunnels", "kernel", "--encapsulation", "gre,l2,gre"): (
        "--tunnels kernel, --encapsulation: 'l2' is none of: gre ipip gue gue0 gre-udp vxlan geneve mpls-udp mpls-gre"
    ),
    ("--fabric-mtu", "3431", "--driver", "af_xdp"): "--fabric-mtu: 3431 is more than af_xdp takes, which is 3430",
    ("--encapsulation", "grey"): f"--encapsulation: 'grey' is none of: {ENCAPSULATIONS}",
    ("--encapsulation", "gre,,l2"): f"--encapsulation: '' is none of: {ENCAPSULATIONS}",
    ("--encapsulation", "gre,l2"): "--encapsulation gre,l2: give one name, three, or mix",
    ("--no-forwarders",): f"unknown option '--no-forwarders'; see {SCRIPT}",
}

RIGHT = (
    ("up",),
    ("down", "--dir", "relative/of-cwd_1.2+3"),
    ("exec", "--dir", "/x", "s1", "cat", "--dir"),
    ("up", "--dir", "/" + "x" * 79, "--bin", "target/debug", "--no-forwarder"),
    ("up", "--workers", CPU, "--fabric-mtu", "1500", "--driver", "af_packet", "--steering", "ring"),
    ("up", "--fabric-mtu", "9216", "--steering", "auto", "--encapsulation", "mix"),
    ("up", "--fabric-mtu", "3430", "--driver", "af_xdp", "--steering", "queues"),
    ("up", "--encapsulation", "mpls-gre,gre-udp,ipip"),
    ("up", "--device", "0000:3b:00.0", "--uplink", "lo", "--hugepages", "--idle", "interrupt"),
    ("up", "--tunnels", "kernel", "--encapsulation", "gre,ipip,vxlan", "--clients-mtu", "9000", "--fabric-mtu", "9000"),
)


@pytest.fixture
def run(directory):
    """Runs a script as a user other than root."""
    tools = directory / "tools"
    tools.mkdir()
    for name, body in (
        ("id", "echo 1000"),
        ("sudo", f"printf '%s\\n' \"$@\"; exit {SUDO_FAILS}"),
        ("cargo", f"exit {SUDO_FAILS}"),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"

    def run(script, *arguments, **variables):
        line = [str(script), *arguments]
        environment = {**os.environ, "PATH": path, **variables}
        return subprocess.run(line, env=environment, cwd=directory, capture_output=True, text=True, timeout=30)

    return run


@pytest.mark.parametrize("arguments", RIGHT, ids=" ".join)
def test_right_options_reach_root_as_they_are(run, arguments):
    done = run(SCRIPT, *arguments)
    assert (done.returncode, done.stderr) == (SUDO_FAILS, "")
    assert done.stdout.splitlines() == [str(SCRIPT), *arguments]


@pytest.mark.parametrize("action", ("up", "down", "exec"))
@pytest.mark.parametrize("option", VALUED)
@pytest.mark.parametrize("rest", ((), ("",), ("--bin", "/x")), ids=("end", "empty", "option"))
def test_a_missing_value_is_reported(run, action, option, rest):
    done = run(SCRIPT, action, option, *rest)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"lab: {option} needs a value; see {SCRIPT}\n"


@pytest.mark.parametrize("options", WRONG, ids=" ".join)
def test_a_wrong_value_is_reported(run, directory, options):
    done = run(SCRIPT, "up", *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("lab: " + WRONG[options].replace("{cwd}", str(directory)))
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    ((), ("--help",), ("upp",), ("up", "now"), ("down", "now"), ("exec",), ("exec", "s1")),
    ids=" ".join,
)
def test_a_wrong_line_shows_the_usage(run, arguments):
    done = run(SCRIPT, *arguments)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("The lab: clients, the forwarder and three web servers")


def test_an_unknown_namespace_is_reported(run):
    done = run(SCRIPT, "exec", "s4", "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "lab: exec: 's4' is none of: clients lb s1 s2 s3 fabric\n"


@pytest.mark.parametrize("value", ((), ("",), ("many",), ("0",), ("-1",)), ids=" ".join)
def test_the_demonstration_checks_its_number_first(run, value):
    done = run(RUN, "--connections", *value)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("run.sh: --connections needs a number, 1 or more\n")


@pytest.mark.parametrize("words, message", VM_WRONG.items(), ids=lambda words: " ".join(words) or "none")
def test_the_virtual_machine_checks_its_cases_first(run, words, message):
    done = run(VM, *words)
    assert done.returncode == 2 and message in done.stdout + done.stderr, done
    assert "==" not in done.stdout


def test_the_short_set_of_the_virtual_machine_is_short(run):
    done = run(VM, "list")
    cases = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert 8 <= sum("(short set)" in case for case in cases) <= 14 < 30 <= len(cases)


@pytest.mark.parametrize("value", ("many", "0", "-1", "1.5"))
def test_the_fuzzers_check_their_time_first(run, value):
    done = run(FUZZ, FUZZ_SECONDS=value)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("fuzz.sh: FUZZ_SECONDS is a number, 1 or more\n")


@pytest.mark.parametrize(
    "arguments, message",
    (
        ((), "which Debian? Write 12 or 13, not ''"),
        (("11",), "which Debian? Write 12 or 13, not '11'"),
        (("13", "--root"), "--root needs an absolute path, not ''"),
        (("13", "--root", "here"), "--root needs an absolute path, not 'here'"),
        (("13", "--rooot", "/x"), "unknown option '--rooot'; there is --root"),
    ),
)
def test_another_debian_checks_its_options_first(run, arguments, message):
    done = run(DISTRO, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"distro.sh: {message}\n")


def test_another_debian_asks_for_root_with_the_settings_of_its_caller(run):
    done = run(DISTRO, "13", "--root", "/x", "make", "check", https_proxy="a b", CARGO_HTTP_TIMEOUT="9", CARGO_HOME="/c")
    assert done.returncode == SUDO_FAILS
    environment, line = done.stdout.splitlines()[:-6], done.stdout.splitlines()[-6:]
    assert line == ["ci/distro.sh", "13", "--root", "/x", "make", "check"]
    assert environment[0] == "env" and "https_proxy=a b" in environment and "CARGO_HTTP_TIMEOUT=9" in environment
    assert "CARGO_HOME=/c" not in environment
