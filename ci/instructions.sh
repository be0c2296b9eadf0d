#!/usr/bin/env bash
# The instructions that a packet costs, compared with benches/instructions.json. Fails if one has risen.
#
#   ci/instructions.sh            counts and compares
#   ci/instructions.sh --accept   counts, and makes what was counted the numbers to compare with
#
# Needs no DPDK. docs/performance.md tells what is counted.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

case "$*" in
    '' | --accept) ;;
    *) die "unknown arguments '$*'; there is --accept" ;;
esac
ci/install.sh build bench

step "instructions"
cargo bench --quiet --locked -p guideway-suite --bench instructions -- "$@"
if [ "${1:-}" = --accept ]; then
    "$python" benches/report.py instructions --write
else
    "$python" benches/report.py instructions --check
fi
