#!/usr/bin/env python3
"""Checks which file of a crate uses which: no circle of files, and no layer uses a layer above it.

    ci/circles.py [ROOT]

Reads every crate of the workspace, from its lib.rs or main.rs through the modules that they declare.
A file uses another if one of its `use` declarations or inline paths leads to an item that is defined
there. A `pub use` in a mod.rs leads on to the file of the item, so a mod.rs that only declares and
re-exports is never a part of a circle. Code under `#[cfg(test)]` does not count.

Limits: method calls and what a macro expands to are not seen. A child that a macro declares counts as
used by its parent.
"""

import re
import sys
import tomllib
from collections import deque
from pathlib import Path

# What each directory of a layered crate may use besides itself: docs/architecture.md, "Layers". Cargo holds the
# layers of crates.
LAYERS = {
    "core/src": {"wire": set(), "stats": {"wire"}, "balancer": {"wire", "stats"}},
    "chassis/src": {
        "event": set(),
        "metrics": set(),
        "log": {"event"},
        "store": {"event"},
        "server": {"event"},
        "http": {"server"},
    },
    "management/src": {
        "routing": set(),
        "ids": set(),
        "state": {"routing"},
        "store": {"state"},
        "compile": {"routing", "ids", "state"},
        "manager": {"routing", "ids", "state", "store", "compile"},
        "kernel": {"routing", "manager"},
        "daemon": {"routing", "ids", "state", "compile", "manager", "kernel"},
        "health": {"manager", "daemon"},
        "metrics": {"routing", "ids", "state", "compile", "manager", "kernel", "daemon", "health"},
    },
    "controller/src": {
        "announce": set(),
        "forwarder": set(),
        "check": {"forwarder"},
        "routes": set(),
        "bird": {"announce", "routes"},
        "manager": {"announce", "bird", "check", "forwarder", "routes"},
        "answer": {"check", "manager"},
        "metrics": {"check", "manager"},
    },
    "forwarder/src": {
        "dpdk": set(),
        "kernel": {"dpdk"},
        "worker": {"dpdk", "kernel"},
        "announce": {"kernel"},
        "probing": {"kernel"},
        "appliance": {"announce", "dpdk", "kernel", "probing", "worker"},
    },
}

NOISE = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\[^\n]+?|[^\\\'\n])\'', re.DOTALL
)
TEST = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\]")
DECLARATION = re.compile(r"\bmod\s+(\w+)\s*([;{])")
USE = re.compile(r"(\bpub(?:\([^)]*\))?\s+)?\buse\s+([^;$]+);")
VISIBILITY = re.compile(r"\bpub\s*\([^)]*\)")
INLINE_PATH = re.compile(r"(?<![\w:.$])(\w+(?:\s*::\s*\w+)+)")


def blank(text):
    """The text as spaces, with its lines kept."""
    return re.sub(r"[^\n]", " ", text)


def end_of_item(text, start):
    """Where the item from `start` on ends: behind its first `;` or its braces."""
    depth = 0
    for at in range(start, len(text)):
        if text[at] == ";" and depth == 0:
            return at + 1
        if text[at] in "{([":
            depth += 1
        elif text[at] in "})]":
            depth -= 1
            if depth == 0 and text[at] == "}":
                return at + 1
    return len(text)


def code_of(path):
    """A file without comments, strings and test code."""
    text = NOISE.sub(lambda found: blank(found[0]), path.read_text())
    while found := TEST.search(text):
        end = end_of_item(text, found.end())
        text = text[: found.start()] + blank(text[found.start() : end]) + text[end:]
    return text


def use_tree(tree, prefix=()):
    """The paths of a `use` declaration, each with the name that it binds."""
    tree = tree.strip()
    if "{" in tree:
        head, _, rest = tree.partition("{")
        prefix = (*prefix, *re.findall(r"\w+", head))
        part, depth = "", 0
        for letter in rest.rsplit("}", 1)[0] + ",":
            depth += (letter == "{") - (letter == "}")
            if letter == "," and depth == 0:
                yield from use_tree(part, prefix) if part.strip() else ()
                part = ""
            else:
                part += letter
        return
    path, _, alias = tree.partition(" as ")
    path = (*prefix, *re.findall(r"\w+|\*", path))
    if path[-1] == "self":
        path = path[:-1]
    yield path, alias.strip() or path[-1]


class Module:
    """A module: its file, the span of its code there, its children, and what its `use`s bind."""

    def __init__(self, file, text, parent=None, span=None):
        self.file, self.text, self.parent = file, text, parent
        self.span = span or (0, len(text))
        self.children, self.bound = {}, {}
        self.exported = set()

    def root(self):
        return self.parent.root() if self.parent else self

    def read(self, directory):
        """Finds the children, in this file and in those below `directory`, and the imports."""
        inline = []
        for found in DECLARATION.finditer(self.text, *self.span):
            if any(start <= found.start() < end for start, end in inline):
                continue
            name = found[1]
            if found[2] == "{":
                span = (found.end(), end_of_item(self.text, found.start()) - 1)
                inline.append(span)
                child = Module(self.file, self.text, self, span)
                child.read(directory / name)
                self.children[name] = child
            else:
                self.add_file(directory, name)
        if re.search(r"\bmod\s+\$", self.text[slice(*self.span)]):
            for path in sorted(directory.glob("*.rs")):
                if path.stem not in {"mod", "lib", "main", *self.children}:
                    self.add_file(directory, path.stem)
                    self.bound["$" + path.stem] = (("self", path.stem), 1)
        self.inline = inline
        for found in USE.finditer(self.text, *self.span):
            if any(start <= found.start() < end for start, end in inline):
                continue
            line = self.text.count("\n", 0, found.start()) + 1
            for path, name in use_tree(found[2]):
                self.bound[name if name not in {"_", "*"} else f"{name}{found.start()}"] = (path, line)
                if found[1]:
                    self.exported.add(name)

    def add_file(self, directory, name):
        for path in (directory / f"{name}.rs", directory / name / "mod.rs"):
            if path.exists():
                child = Module(path, code_of(path), self)
                child.read(directory / name)
                self.children[name] = child

    def all(self):
        yield self
        for child in self.children.values():
            yield from child.all()

    def resolve(self, path, seen=()):
        """The module that a path from here leads to and whether it ends at an item in it; or None."""
        here, path = self, list(path)
        if path[0] == "crate":
            here = self.root()
        elif path[0] == "super":
            here = self.parent
        elif path[0] != "self":
            path.insert(0, "self")
        for at, name in enumerate(path[1:], 1):
            if here is None:
                return None
            if name == "super":
                here = here.parent
            elif name in here.children:
                here = here.children[name]
            elif name in here.bound and (here, name) not in seen:
                return here.resolve([*here.bound[name][0], *path[at + 1 :]], (*seen, (here, name)))
            elif at == 1 and path[0] == "self" and self is here:
                # A crate, or an item of this very module.
                return None
            else:
                return here, True
        return (here, False) if here else None

    def uses(self):
        """The files that this module uses, each with the line."""
        text, first = self.text[slice(*self.span)], self.span[0]
        for start, end in self.inline:
            start, end = start - first, end - first
            text = text[:start] + blank(text[start:end]) + text[end:]
        for pattern in (USE, DECLARATION, VISIBILITY):
            text = pattern.sub(lambda found: blank(found[0]), text)
        for name, (path, line) in self.bound.items():
            if name in self.exported and not re.search(rf"\b{name}\b", text):
                continue
            found = self.resolve(path)
            # A module that is imported is used where one of its items is named.
            if found and (found[1] or name.startswith("$")):
                yield found[0].file, line
        for found in INLINE_PATH.finditer(text):
            path = re.findall(r"\w+", found[1])
            if path[0] in {"crate", "super", "self"} or path[0] in self.children or path[0] in self.bound:
                target = self.resolve(path)
                if target:
                    yield target[0].file, self.text.count("\n", 0, first + found.start()) + 1


def crates(root):
    """The root file of every crate of the workspace."""
    members = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["members"]
    for member in members:
        for name in ("lib.rs", "main.rs"):
            if (path := root / member / "src" / name).exists():
                yield path


def graph_of(start):
    """Which file uses which: {file: {file: line}}."""
    top = Module(start, code_of(start))
    top.read(start.parent)
    graph = {}
    for module in top.all():
        edges = graph.setdefault(module.file, {})
        for file, line in module.uses():
            if file != module.file:
                edges.setdefault(file, line)
    return graph


def circle_through(graph, start):
    """The shortest circle from a file back to itself; empty if there is none."""
    before, queue = {}, deque([start])
    while queue:
        file = queue.popleft()
        for other in graph[file]:
            if other == start:
                circle = [file]
                while circle[0] != start:
                    circle.insert(0, before[circle[0]])
                return circle
            if other not in before:
                before[other] = file
                queue.append(other)
    return []


def layer_of(source, file):
    """The first directory below the crate's sources that a file is in; None for the files beside lib.rs."""
    parts = file.relative_to(source).parts
    return parts[0] if len(parts) > 1 else None


def faults(root):
    for start in crates(root):
        graph = graph_of(start)
        layers = LAYERS.get(start.parent.relative_to(root).as_posix(), {})
        for file, edges in graph.items():
            own = layer_of(start.parent, file)
            for other, line in edges.items():
                theirs = layer_of(start.parent, other)
                if own in layers and theirs not in {own, None, *layers[own]}:
                    yield f"{file.relative_to(root)}:{line}: {own} must not use {theirs}"
        told = set()
        for file in sorted(graph):
            circle = circle_through(graph, file)
            if circle and told.isdisjoint(circle):
                told.update(circle)
                ring = zip(circle, [*circle[1:], circle[0]], strict=True)
                steps = [f"{a.relative_to(root)}:{graph[a][b]} uses {b.relative_to(root)}" for a, b in ring]
                yield "a circle of files:\n    " + "\n    ".join(steps)


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    found = list(faults(root))
    for fault in found:
        print(fault, file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
