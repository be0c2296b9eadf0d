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

step "tests beside the code"
tests cargo test --quiet --locked --workspace

export GUIDEWAY_BIN_DIR=$PWD/target/release
step "tests of the programs: captures and tools"
# One process more than CPUs: a replay sleeps a tenth of a second while DPDK measures its clock.
"$python" -m pytest -q --numprocesses $(($(nproc) + 1)) tests/replay tests/tools
# These measure time, so each has the machine alone.
step "tests of the programs: live"
"$python" -m pytest -q tests/live

ci/instructions.sh
ci/run.sh
ci/fuzz.sh
