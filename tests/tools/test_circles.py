"""ci/circles.py: the circles and upward uses that it reports, and those that it accepts."""

import subprocess
import sys

from support import binaries

SCRIPT = binaries.ROOT / "ci/circles.py"
MANIFEST = '[workspace]\nmembers = ["forwarder"]\n'


def run(root, files):
    """The script's exit code and report for a crate of these files."""
    root.joinpath("Cargo.toml").write_text(MANIFEST)
    for name, text in files.items():
        path = root / "forwarder/src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = subprocess.run([sys.executable, SCRIPT, root], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_a_circle_is_reported_with_its_files_and_lines(tmp_path):
    files = {
        "lib.rs": "mod a;\nmod b;\n",
        "a.rs": "// A comment.\nuse super::b::B;\npub struct A(B);\n",
        "b.rs": "pub struct B;\nfn of(_: crate::a::A) {}\n",
    }
    code, report = run(tmp_path, files)
    assert code == 1
    assert "forwarder/src/a.rs:2 uses forwarder/src/b.rs" in report
    assert "forwarder/src/b.rs:2 uses forwarder/src/a.rs" in report


def test_a_parent_that_only_re_exports_is_in_no_circle(tmp_path):
    files = {
        "lib.rs": "pub mod m;\n",
        "m/mod.rs": "mod child;\npub use child::Child;\npub struct Parent;\n",
        "m/child.rs": "pub struct Child(super::Parent);\n",
    }
    assert run(tmp_path, files) == (0, "")
    files["m/mod.rs"] += "fn of(_: Child) {}\n"
    code, report = run(tmp_path, files)
    assert code == 1
    assert "m/mod.rs" in report


def test_a_circle_through_test_code_does_not_count(tmp_path):
    files = {
        "lib.rs": "mod a;\nmod b;\n",
        "a.rs": "pub struct A;\n#[cfg(test)]\nmod tests {\n    use crate::b::B;\n}\n",
        "b.rs": "pub struct B(super::a::A);\n",
    }
    assert run(tmp_path, files) == (0, "")


def test_a_layer_must_not_use_one_above_it(tmp_path):
    files = {
        "lib.rs": "mod worker;\nmod dpdk;\n",
        "worker/mod.rs": "pub struct Worker(crate::dpdk::Mbuf);\n",
        "dpdk/mod.rs": "pub struct Mbuf;\n",
    }
    assert run(tmp_path, files) == (0, "")
    files["worker/mod.rs"] = "pub struct Worker;\n"
    files["dpdk/mod.rs"] = "use crate::worker::Worker;\n"
    code, report = run(tmp_path, files)
    assert (code, report) == (1, "forwarder/src/dpdk/mod.rs:1: dpdk must not use worker\n")


def test_the_repository_passes():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
