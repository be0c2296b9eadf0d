#!/usr/bin/env python3
"""Checks that the names on the documentation's pages exist, and that table cells are short.

    ci/names.py [PAGE...]        default: README.md, CONTRIBUTING.md, docs/ and the READMEs of directories

The script checks text in backticks, outside of blocks of code:

- a path is a tracked file or directory, from the root or without its first directories (`wire/plain.rs`);
- all parts of `Type::method` are words of one source file; each part of `section.key` is a word of any file;
- a word, an option (`--json`) and `make TARGET` are in the sources: code, scripts, units, examples.

It does not check the rest of a command, messages, values, and whether a word means what the page says.
A table's cell has at most 40 words.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/notes/*.md", "tests/README.md", "pktgen-scripts/README.md")
LONGEST = 40

FOREIGN = {
    *("Manager", "Helper", "Util"),  # words that names must not have
    *("advmss", "elvish", "ip6_tunnel", "ip_gre", "lscpu", "mlx5", "powershell"),  # of other programs and the kernel
    *("balancer/encapsulation/geneve.rs", "agent/src/decapsulation/geneve.rs"),  # examples of a new file
    "agent/proptest-regressions/ecn.txt",  # an example of a finding
    *("auth_type", "keepalive_interval", "md5", "nexthop_ip", "peer_id", "peer_ip"),  # of Octavia's distributor
    "by_ipip",  # composed of `by_` and a name
    *("c6336401", "c6336401cb00710a11"),  # bytes
}

PATH = re.compile(r"(?!\d|target/)[\w.-]+/(?:[\w.-]+/?)*|[\w-]+\.(?:rs|py|sh|md|toml|json|c|h|lua|cmd|txt)")
WORD = re.compile(r"[A-Za-z_]\w*")
NAME = re.compile(r"[A-Za-z_][\w-]*(?:(?:::|\.)[A-Za-z_][\w-]*)*(?:\(\))?!?")
OWN = re.compile(r"(?:guideway(?:ctl|-agent)?|ci/[\w/.-]+|--\S+)(?: |$)")


class Tree:
    """The tracked files: their paths, and the words of each source."""

    def __init__(self, root):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
        files = [Path(name) for name in listed.stdout.split("\0") if name and (root / name).exists()]
        self.paths = {f"/{path}" for file in files for path in (file, *file.parents)}
        self.texts = {}
        for file in files:
            # The pages themselves prove nothing. Neither do the exceptions above and this script's test.
            if file.suffix not in (".md", ".lock", ".svg") and file.stem not in ("names", "test_names"):
                self.texts[file] = (root / file).read_text(errors="replace")
        # A module is named by its file or directory.
        self.words = {file: {*WORD.findall(text), *file.parent.parts, file.stem} for file, text in self.texts.items()}
        self.all_words = set().union(*self.words.values())

    def has_path(self, name):
        end = "/" + name.rstrip("/")
        return any(path.endswith(end) for path in self.paths)

    def has_word(self, word):
        if word.endswith("_"):
            return any(other.startswith(word) for other in self.all_words)
        if WORD.fullmatch(word):
            return word in self.all_words
        if word.startswith("--") and word[2:].replace("-", "_") in self.all_words:
            return True  # clap makes options from fields
        whole = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")
        return any(whole.search(text) for text in self.texts.values())

    def lacks(self, span):
        """The part of a text in backticks that does not exist, or None."""
        if span in FOREIGN or re.search(r"\b[A-Z]+\b/|/[A-Z]+\b", span):
            return None
        if self.has_path(span):
            return None
        if PATH.fullmatch(span):
            return None if self.has_word(span) else span
        if NAME.fullmatch(span):
            parts = [part for part in re.split(r"::|\.", span.rstrip("()!")) if part]
            if "::" in span:
                return None if any(words.issuperset(parts) for words in self.words.values()) else span
            return next((span for part in parts if not self.has_word(part)), None)
        first, *rest = span.split()
        if first == "make":
            return None if re.search(rf"^{rest[0]}:", self.texts[Path("Makefile")], re.MULTILINE) else span
        if OWN.match(span):
            if first.startswith("ci/") and not self.has_path(first):
                return first
            options = re.findall(r"(?<!\S)--[a-z][\w-]*", span)
            return next((option for option in options if not self.has_word(option)), None)
        return None


def prose(text):
    """The lines outside of blocks of code, with their numbers."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        fenced ^= line.startswith("```")
        if not fenced and not line.startswith(("    ", "```")):
            yield number, line


def mistakes(tree, page, text):
    for number, line in prose(text):
        for span in re.findall(r"`([^`]+)`", line):
            missing = tree.lacks(span)
            if missing:
                yield f"{page}:{number}: there is no `{missing}`"
        if line.startswith("|"):
            for cell in line.strip("|").split("|"):
                if len(cell.split()) > LONGEST:
                    yield f"{page}:{number}: a cell of {len(cell.split())} words, at most {LONGEST}: {cell[:60].strip()} ..."


def main():
    pages = sys.argv[1:] or sorted(str(path.relative_to(ROOT)) for page in PAGES for path in ROOT.glob(page))
    tree = Tree(ROOT)
    found = [line for page in pages for line in mistakes(tree, page, Path(ROOT, page).read_text())]
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
