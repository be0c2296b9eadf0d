#!/usr/bin/env bash
# Everything: checks, the proof without DPDK, all tests, a run in the lab, a short fuzz.
#
#   ci/test.sh
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

ci/install.sh
ci/check.sh
ci/pure.sh
ci/build.sh

step "tests beside the code, but those that ci/pure.sh has run"
tests cargo test --quiet --locked --workspace "${pure_crates[@]/#/--exclude=}"

step "tests of the programs"
export GUIDEWAY_BIN_DIR=$PWD/target/release
"$python" -m pytest -q tests

ci/instructions.sh
ci/run.sh
ci/fuzz.sh
