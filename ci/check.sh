#!/usr/bin/env bash
# Everything that needs no running program: format, lints, documentation, imports, dependencies, scripts, commit
# subjects.
#
#   ci/check.sh
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

in_git() { git rev-parse --is-inside-work-tree >/dev/null 2>&1; }
tree_state() { git status --porcelain && git diff HEAD | sha256sum; }

before=
! in_git || before=$(tree_state)

step "toolchain"
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
found=$(rustc --version | cut -d ' ' -f 2)
[ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
    die "Cargo.toml names rust-version $needed, and rustc is $found; rustup update stable"
rustc --version

step "format"
cargo fmt --all --check
# It does not see modules that a macro declares.
rustfmt --check --edition 2024 core/src/balancer/encapsulation/*.rs
[ ! -e fuzz/Cargo.toml ] || cargo fmt --manifest-path fuzz/Cargo.toml --check

step "clippy"
cargo clippy --quiet --locked --workspace --all-targets -- -D warnings

step "documentation"
RUSTDOCFLAGS=-Dwarnings cargo doc --quiet --locked --workspace --no-deps

step "imports"
"$python" ci/circles.py

step "scripts"
shellcheck -x ci/*.sh ci/vm/init .ci/run
"$tools/bin/ruff" check --quiet

step "dependencies"
deny=("$tools/bin/cargo-deny" --config deny.toml --locked --workspace)
"${deny[@]}" --manifest-path Cargo.toml check --deny unmatched-skip licenses bans sources
# The list is of both graphs, and this is the smaller.
"${deny[@]}" --manifest-path fuzz/Cargo.toml check --allow unmatched-skip licenses bans sources
ci/audit.sh --if-reachable

step "spelling"
"$tools/bin/typos"

if in_git; then
    step "names and tables of the pages"
    "$python" ci/names.py

    step "commit subjects"
    git log --no-merges --format='%h %s' | while read -r commit subject; do
        [[ $subject =~ ^[a-z0-9._/-]+:\ [^\ ] ]] || die "$commit: write 'area: subject', not '$subject'"
        [ ${#subject} -le 60 ] || die "$commit: ${#subject} characters, at most 60: '$subject'"
    done

    step "commit bodies"
    # By date, which a shallow clone has too. Before it, 59 lines are longer.
    git log --no-merges --since=2026-11-29T11:25:07Z --format=%h | while read -r commit; do
        git log -1 --format=%b "$commit" | while IFS= read -r line; do
            [ ${#line} -le 72 ] || [[ $line = *://* ]] || die "$commit: wrap at 72 columns: '$line'"
        done
    done

    step "clean tree"
    [ "$before" = "$(tree_state)" ] || {
        git status --short
        die "the build or the checks changed files of the tree; ignore or commit them"
    }
else
    printf '\nno git checkout (or not yours): names in the pages, commits and clean tree were not checked\n'
fi
