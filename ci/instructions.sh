#!/usr/bin/env bash
# Compares the instructions per packet with benches/instructions.json. Fails if a count has risen.
#
#   ci/instructions.sh            counts and compares
#   ci/instructions.sh --accept   counts, and writes the counts to that file
#
# Needs no DPDK. docs/performance.md explains the cases.
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
