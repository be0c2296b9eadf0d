#!/usr/bin/env bash
# Everything: checks, the proof without DPDK, all tests, a run in the lab, a short fuzz.
#
#   ci/test.sh
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

# A script whose build leaves a CPU idle runs beside others. `beside SCRIPT` starts it, `finish` shows its output and
# fails if it has failed. If this script ends before, so does the other.
log=$(mktemp)
other=
beside() {
    setsid "$1" >"$log" 2>&1 &
    other=$!
}
finish() {
    local status=0
    wait "$other" || status=$?
    other=
    cat "$log"
    return "$status"
}
trap 'status=$?; [ -z "$other" ] || kill -- "-$other"; rm -f "$log"; conclude "$status"' EXIT

ci/install.sh
beside ci/build.sh
ci/check.sh
ci/pure.sh
finish

step "tests beside the code"
tests cargo test --quiet --locked --workspace
step "states of backends against their model: a million packets"
tests cargo test --quiet --locked -p guideway-management --test states_model -- --ignored

export GUIDEWAY_BIN_DIR=$PWD/target/release
step "tests of the programs: captures and tools"
# One process more than CPUs: a replay sleeps a tenth of a second while DPDK measures its clock.
"$python" -m pytest -q --numprocesses $(($(nproc) + 1)) tests/replay tests/tools
step "the generator of the live tests"
cargo build --quiet --locked --release -p guideway-pair
# These measure time, so each has the machine alone.
step "tests of the programs: live"
"$python" -m pytest -q tests/live

ci/run.sh
# It counts instructions, however busy the machine is.
beside ci/instructions.sh
FUZZ_SECONDS=${FUZZ_SECONDS:-10} ci/fuzz.sh
finish
