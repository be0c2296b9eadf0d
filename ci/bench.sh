#!/usr/bin/env bash
# The benchmarks: time by criterion, instructions by valgrind.
#
#   ci/bench.sh [cargo bench's arguments]        for example: ci/bench.sh --bench maglev
#
# Installs gungraun-runner into target/tools if it is missing there: it counts the instructions, and
# must be of the version that Cargo.lock has.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

ci/install.sh build bench
version=$(sed -n '/^name = "gungraun"$/{n;s/^version = "\(.*\)"/\1/p}' Cargo.lock)
runner=target/tools/$version/bin/gungraun-runner
if [ ! -x "$runner" ]; then
    step "gungraun-runner $version"
    cargo install --quiet --locked --root "target/tools/$version" --version "$version" gungraun-runner
fi
step "benchmarks"
GUNGRAUN_RUNNER=$PWD/$runner cargo bench --quiet --locked -p guideway-suite "$@"
