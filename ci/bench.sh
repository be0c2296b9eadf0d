#!/usr/bin/env bash
# The benchmarks: the time that things take, and the instructions that a packet costs.
#
#   ci/bench.sh [NAME]      NAME: only what has this in its name: parse, maglev, flow-table, decide
#   ci/bench.sh --write     all, and puts the times into docs/performance.md
#
# Two to three minutes, most of it compiling. Times are worth something on an idle machine only.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

write=no
if [ "${1:-}" = --write ]; then
    write=yes
    shift
fi
[ $# -le 1 ] || die "one name at the most"

ci/install.sh build bench

read -r load _ </proc/loadavg
step "times, on $(nproc) CPUs, load average $load at the start"
rm -rf target/criterion
cargo bench --quiet --locked -p guideway-suite --bench time -- "$@"

step "times, in a table"
if [ $write = yes ]; then
    "$python" benches/tables.py times --write
else
    "$python" benches/tables.py times
fi
[ $# -gt 0 ] || ci/instructions.sh
