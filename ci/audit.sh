#!/usr/bin/env bash
# Looks whether the dependencies have known vulnerabilities, are abandoned or were withdrawn, by RustSec's database.
#
#   ci/audit.sh                 fails if the database cannot be fetched
#   ci/audit.sh --if-reachable  says so, and ends well, if the database cannot be fetched
#
# The database is a git repository, https://github.com/RustSec/advisory-db.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

case "$*" in
    '' | --if-reachable) ;;
    *) die "unknown arguments '$*'; there is --if-reachable" ;;
esac
export GIT_TERMINAL_PROMPT=0

step "advisories"
if ! said=$(timeout 60 "$tools/bin/cargo-deny" --config deny.toml fetch db 2>&1); then
    printf '%s\n' "$said"
    [ "${1:-}" = --if-reachable ] || die "RustSec's database cannot be fetched"
    printf '\nadvisories were NOT checked: RustSec'\''s database cannot be fetched; where it can, run: make audit\n'
    exit
fi
for manifest in Cargo.toml fuzz/Cargo.toml; do
    "$tools/bin/cargo-deny" --config deny.toml --locked --workspace --manifest-path "$manifest" check advisories
done
