"""Programs that cannot print their output: the reader has gone, the disk is full, the stream is closed."""

import subprocess

import pytest
from support import binaries
from support.config import one_port
from support.replay import pcap

AGENT = binaries.directory() / "guideway-agent"
PROGRAMS = {"guideway": binaries.guideway(), "guidewayctl": binaries.guidewayctl(), "guideway-agent": AGENT}


@pytest.fixture
def commands(tmp_path):
    """Commands that print a result, and commands that print mistakes, by name."""
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    one_port().write(good)
    bad.write_text("colour = 1\n" * 900)
    capture = tmp_path / "in.pcap"
    capture.write_bytes(pcap([]))
    replay = [binaries.guideway(), "replay", "--config", good, "--rx", f"edge0={capture}"]
    results = {
        "check": [binaries.guideway(), "check", "--config", good],
        "replay": replay,
        "replay --json": [*replay, "--json"],
        "completions": [binaries.guidewayctl(), "completions", "bash"],
        **{f"{name} {flag}": [path, flag] for name, path in PROGRAMS.items() for flag in ("--help", "--version")},
    }
    failures = {
        "check": ([binaries.guideway(), "check", "--config", bad], 1),
        "run": ([binaries.guideway(), "run", "--config", bad], 1),
        "no file": ([binaries.guideway(), "check", "--config", tmp_path / "none.toml"], 1),
        "no daemon": ([binaries.guidewayctl(), "--socket", tmp_path / "none.sock", "status"], 3),
        "agent": ([AGENT, "--tun", "x" * 40], 1),
        **{f"{name} usage": ([path, "--colour"], 2) for name, path in PROGRAMS.items()},
    }
    return results, failures


def run(line, redirection):
    """Exit code and stderr of a command with a stream redirected by the shell."""
    shell = ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", *map(str, line)]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60)
    assert "panicked" not in done.stderr + done.stdout
    return done.returncode, done.stderr


@pytest.mark.parametrize("redirection", ("| true", "| head -c 1 >/dev/null", ">&-"))
def test_an_unread_result_is_no_failure(commands, redirection):
    for name, line in commands[0].items():
        code, errors = run(line, redirection)
        assert code == 0, (name, errors)


def test_a_result_on_a_full_disk_is_a_failure(commands):
    for name, line in commands[0].items():
        code, errors = run(line, ">/dev/full")
        assert code == 1, (name, errors)
        assert "cannot write the result: No space left on device" in errors, (name, errors)


@pytest.mark.parametrize("redirection", ("2> >(true)", "2>/dev/full", "2>&-", ">&- 2>&- <&-"))
def test_unread_mistakes_keep_the_exit_code(commands, redirection):
    for name, (line, expected) in commands[1].items():
        code, errors = run(line, redirection)
        assert code == expected, (name, code, errors)


@pytest.mark.parametrize("level", ("wran", "info,", "guideway=debug", "trace", "\x1b[31m"))
def test_an_unknown_log_level_is_reported(commands, level):
    """So is a level that a release build lacks. A debug build has that level and logs no warning."""
    line = ["env", f"GUIDEWAY_LOG={level}", *commands[0]["replay"]]
    code, errors = run(line, "")
    assert code == 0
    assert "\x1b" not in errors
    if level != "trace":
        assert "WARN GUIDEWAY_LOG is " in errors and "expected one of off, error, warn, info, debug, trace" in errors
    elif binaries.directory().name == "release":
        assert "WARN GUIDEWAY_LOG=trace: this build has no levels below debug" in errors
