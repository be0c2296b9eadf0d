"""`guideway check`: a valid file passes; of a wrong file every mistake is reported with its line."""

import os
import pty
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from support import binaries
from support.config import one_port, two_ports

EXAMPLES = sorted((binaries.ROOT / "examples").glob("*.toml"))


def check(path):
    line = [str(binaries.guideway()), "check", "--config", str(path)]
    return subprocess.run(line, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_valid(example):
    done = check(example)
    assert done.returncode == 0, done.stderr


def test_there_are_examples():
    assert EXAMPLES


def test_the_readme_shows_the_minimal_example():
    """A reader copies the example that the test above has checked."""
    example = (binaries.ROOT / "examples" / "minimal.toml").read_text()
    shown = example[example.index("[node]") :]
    indented = "".join(f"    {line}" if line.strip() else line for line in shown.splitlines(keepends=True))
    assert indented in (binaries.ROOT / "README.md").read_text()


def test_help_lists_exit_codes_and_the_environment():
    done = subprocess.run([binaries.guideway(), "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert "Exit codes:" in done.stdout and "GUIDEWAY_LOG" in done.stdout, done.stdout


@pytest.mark.parametrize("make", (one_port, two_ports))
def test_the_configurations_of_these_tests_are_valid_without_a_warning(tmp_path, make):
    done = check(make().write(tmp_path / "guideway.toml"))
    assert done.returncode == 0
    assert "line " not in done.stdout + done.stderr


def line_of(text, words, after=""):
    """The number of the first line with these words, from the first line with `after` on."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if after in line)
    return next(n for n, line in enumerate(lines[start:], start + 1) if words in line)


def test_all_mistakes_are_reported_at_once(tmp_path):
    config = one_port()
    config["hash"] = {"key": "0123", "table_size": 65536}
    config["node"]["colour"] = "red"
    config["port"][0]["mtuu"] = config["port"][0].pop("mtu")
    config["port"][0]["addresses"][0] = "192.0.2.1/33"
    config["neighbor"][0]["mac"] = "02:00:00:00:00"
    config["pool"][0]["encapsulation"] = "unknown-encapsulation"
    config["service"][0]["pool"] = "webb"
    config["service"][1]["port"] = 70000
    config["service"][2]["protocol"] = "sctp"
    config["service"][3]["name"] = config["service"][0]["name"]
    path = config.write(tmp_path / "guideway.toml")
    text = path.read_text()
    done = check(path)
    assert done.returncode == 1
    output = (done.stdout + done.stderr).splitlines()
    service = "[[service]]"
    expected = (
        (line_of(text, "key ="), "hash.key", "32"),
        (line_of(text, "table_size"), "hash.table_size", "65537"),
        (line_of(text, "colour"), "colour", ""),
        (line_of(text, "mtuu"), "mtuu", "mtu"),
        (line_of(text, "192.0.2.1/33"), "addresses", "33"),
        (line_of(text, '"02:00:00:00:00"'), "mac", ""),
        (line_of(text, "unknown-encapsulation"), "encapsulation", "gre"),
        (line_of(text, "webb", service), "pool", '"web"'),
        (line_of(text, "70000", service), "port", "65535"),
        (line_of(text, "sctp", service), "protocol", "udp"),
    )
    for number, key, right in expected:
        rows = [row for row in output if f"line {number}:" in row]
        assert any(key in row and right in row for row in rows), (number, key, right, output)
    assert any("web-tcp4" in row for row in output), "a name that is there twice"


@pytest.mark.parametrize(
    ("change", "message"),
    (
        (lambda c: c["node"].update(tunnel_source=["192.0.2.1"]), "IPv6"),
        (lambda c: c["hash"].update(table_size=251), "table_size"),
        (lambda c: c.pool()["backends"][0].update(address="203.0.113.10"), "203.0.113.10"),
        (lambda c: c.pool()["backends"][1].update(name="near4"), "near4"),
        (lambda c: c["port"][0].update(gateways=["2001:db8::fe"], interface="none"), "10.9.0.7"),
        (lambda c: c["service"][1].update(port=80, protocol="tcp"), "service[1].address"),
        (lambda c: c.pop("port"), "port"),
        (lambda c: c.pop("hash"), "hash"),
    ),
)
def test_mistakes_across_sections_are_reported(tmp_path, change, message):
    config = one_port()
    change(config)
    done = check(config.write(tmp_path / "guideway.toml"))
    assert done.returncode == 1
    assert message in done.stdout + done.stderr


@pytest.mark.parametrize("text", ("", "[node", "node = 3", "[[node]]", "\x00", "a" * 100_000))
def test_other_text_is_refused(tmp_path, text):
    path = tmp_path / "guideway.toml"
    path.write_text(text)
    done = check(path)
    assert done.returncode == 1
    assert "panicked" not in done.stderr
    assert "line 1" in done.stdout + done.stderr


def test_a_missing_file_and_a_binary_file_are_reported(tmp_path):
    missing = check(tmp_path / "gone.toml")
    assert missing.returncode == 1 and "gone.toml" in missing.stderr
    (tmp_path / "noise.toml").write_bytes(b"\xff\xfe\x00")
    noise = check(tmp_path / "noise.toml")
    assert noise.returncode == 1 and "noise.toml" in noise.stdout + noise.stderr


def test_usage():
    done = subprocess.run([str(binaries.guideway()), "check"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "--config" in done.stderr


def test_pipes_directories_and_huge_files_are_refused_at_once(tmp_path):
    fifo, huge = tmp_path / "fifo", tmp_path / "huge"
    os.mkfifo(fifo)
    with huge.open("wb") as file:
        file.truncate(100_000_000)
    for path, message in ((fifo, "it is a pipe"), (huge, "more than 16 MiB"), (tmp_path, "it is a directory")):
        begin = time.monotonic()
        done = check(path)
        assert done.returncode == 1 and message in done.stderr, done.stderr
        assert time.monotonic() - begin < 2


def split(path, config, *sections):
    """Writes a configuration with these sections in files of their own in `conf.d`."""
    conf = path.parent / "conf.d"
    conf.mkdir()
    for section in sections:
        (conf / f"{section}.toml").write_text(type(config)({section: config[section]}).text())
    return config.changed(lambda c: [c.pop(section) for section in sections]).write(path)


def test_a_configuration_may_be_split(tmp_path):
    path = split(tmp_path / "guideway.toml", one_port(), "pool", "service", "neighbor")
    done = check(path)
    assert done.returncode == 0, done.stderr
    services = tmp_path / "conf.d" / "service.toml"
    more = services.read_text().replace("web-tcp4", "web-tcp6")
    (tmp_path / "conf.d" / "x-twice.toml").write_text(f"[hash]\ntable_size = 65521\n{more}")
    done = check(path)
    assert done.returncode == 1
    assert f"{tmp_path}/conf.d/x-twice.toml: line 2: hash.table_size: is set in guideway.toml:" in done.stderr
    assert "again in conf.d/x-twice.toml:2; keep one" in done.stderr
    place = line_of(services.read_text(), "web-tcp6")
    assert f'is "web-tcp6" as on line {place} of conf.d/service.toml' in done.stderr


def test_a_directory_of_further_files_is_read_within_bounds(tmp_path):
    path = split(tmp_path / "guideway.toml", one_port(), "pool")
    hostile = tmp_path / "conf.d" / "hostile.toml"
    for make, message in (
        (hostile.mkdir, "it is a directory"),
        (lambda: os.mkfifo(hostile), "it is a pipe"),
        (lambda: hostile.symlink_to("hostile.toml"), "Too many levels of symbolic links"),
        (lambda: hostile.symlink_to("/dev/zero"), "it is a device"),
        (lambda: hostile.symlink_to("gone"), "No such file"),
        (lambda: hostile.write_bytes(b"\n\xff"), "line 2 is not UTF-8"),
        (lambda: hostile.write_bytes(b"#" * (17 << 20)), "more than 16 MiB"),
        (lambda: hostile.write_text("a = ["), "line 1"),
    ):
        make()
        begin = time.monotonic()
        done = check(path)
        assert done.returncode == 1 and message in done.stderr and "conf.d/hostile.toml" in done.stderr, done.stderr
        assert time.monotonic() - begin < 2
        hostile.rmdir() if hostile.is_dir() else hostile.unlink()
    for number in range(10_000):
        (tmp_path / "conf.d" / f"{number}.toml").touch()
    done = check(path)
    assert done.returncode == 1 and "conf.d has more than 256 files" in done.stderr, done.stderr


def test_a_file_that_may_not_be_read_is_named():
    """Root may read everything, so the check runs as nobody."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        path = split(directory / "guideway.toml", one_port(), "pool")
        (directory / "conf.d" / "pool.toml").chmod(0)
        program = directory / "guideway"
        shutil.copy(binaries.guideway(), program)
        line = ["setpriv", "--reuid=65534", "--clear-groups", program, "check", "--config", path]
        done = subprocess.run(line, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "conf.d/pool.toml: Permission denied" in done.stderr, done.stderr


def test_a_terminal_shows_the_line_and_a_caret(tmp_path):
    path = one_port().changed(lambda c: c["port"][0].update(mtu=64)).write(tmp_path / "guideway.toml")
    ours, theirs = pty.openpty()
    line = [str(binaries.guideway()), "check", "--config", str(path)]
    done = subprocess.run(line, stderr=theirs, timeout=30, env={**os.environ, "NO_COLOR": "1"})
    os.close(theirs)
    shown = os.read(ours, 10_000).decode().replace("\r\n", "\n")
    os.close(ours)
    number = line_of(path.read_text(), "mtu =")
    assert done.returncode == 1
    assert "error: port[0].mtu: is the integer 64\n" in shown, shown
    assert f"--> {path}:{number}:7\n" in shown, shown
    assert f"{number} | mtu = 64\n" in shown and "^^ expected an integer from 576 to 9216" in shown, shown
