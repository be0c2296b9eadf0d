"""ci/names.py: names on a page that do not exist are reported, and existing names are not."""

import importlib.util
import subprocess

import pytest
from support import binaries

SPEC = importlib.util.spec_from_file_location("names", binaries.ROOT / "ci/names.py")
names = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(names)

FILES = {
    "Makefile": "test:; @ci/test.sh\n",
    "ci/test.sh": "cargo test\n",
    "core/src/wire/plain.rs": "pub struct Plain;\nimpl Plain { fn parse() {} }\n",
    "core/src/wire/udp.rs": "pub fn checksum() { drop_reason(); }\nstruct Arguments { bytes_per_second: u64 }\n",
    "docs/page.md": "`Nonesuch` is on another page, and proves nothing.\n",
}
THERE = (
    *("ci/test.sh", "core/src/wire/plain.rs", "wire/plain.rs", "plain.rs", "wire/", "core/src", "Makefile"),
    *("Plain", "Plain::parse", "wire::Plain", "parse()", "checksum", "drop_reason", "drop_", "plain.checksum"),
    *("make test", "guideway --bytes-per-second N"),
    *("192.0.2.0/24", "target/release", "TARGET/file", "a whole sentence", "ethtool --nonesuch"),
)
MISSING = (
    *("ci/nonesuch.sh", "wire/tcp.rs", "tcp.rs", "wires/", "src/forwarder"),
    *("Nonesuch", "Plain::checksum", "Plain::nonesuch", "nonesuch()", "nonesuch_", "plain.nonesuch"),
    *("make nonesuch", "ci/nonesuch.sh up", "guideway --nonesuch", "--nonesuch"),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for command in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *command], cwd=root, check=True, timeout=30)
    return names.Tree(root)


@pytest.mark.parametrize("span", THERE)
def test_an_existing_name_is_not_reported(tree, span):
    assert list(names.mistakes(tree, "page.md", f"See `{span}`.")) == []


@pytest.mark.parametrize("span", MISSING)
def test_a_missing_name_is_reported_with_its_line(tree, span):
    [mistake] = names.mistakes(tree, "page.md", f"Text.\n\nSee `{span}`.")
    assert mistake.startswith("page.md:3: there is no `")


def test_blocks_of_code_are_left_out(tree):
    assert list(names.mistakes(tree, "page.md", "    `nonesuch`\n\n```\n`nonesuch`\n```\n")) == []


def test_a_long_cell_is_reported(tree):
    rows = [f"| one | {'word ' * count}|\n" for count in (40, 41)]
    [mistake] = names.mistakes(tree, "page.md", "".join(rows))
    assert mistake.startswith("page.md:2: a cell of 41 words")


def test_the_program_fails_by_its_exit_code(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("`nonesuch/`\n")
    done = subprocess.run([binaries.ROOT / "ci/names.py", page], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "there is no `nonesuch/`" in done.stdout, done
