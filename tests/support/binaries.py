"""The programs under test."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def directory():
    """The programs' directory: $GUIDEWAY_BIN_DIR, else the newer of target/release and target/debug."""
    named = os.environ.get("GUIDEWAY_BIN_DIR")
    if named:
        candidates = [Path(named).resolve()]
    else:
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        candidates = [target / profile for profile in ("release", "debug")]
    built = [path for path in candidates if (path / "guideway").exists()]
    if not built:
        searched = " or ".join(str(path) for path in candidates)
        raise FileNotFoundError(f"no guideway in {searched}: run `cargo build --workspace` first")
    return max(built, key=lambda path: (path / "guideway").stat().st_mtime)


def guideway():
    return directory() / "guideway"


def guidewayctl():
    program = directory() / "guidewayctl"
    if not program.exists():
        raise FileNotFoundError(f"no {program}: run `cargo build --workspace` first")
    return program
