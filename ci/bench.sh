#!/usr/bin/env bash
# Runs the benchmarks. Prints tables of results, and each claim as met or NOT MET.
#
#   ci/bench.sh [--write] [--strict] [PART...]      all parts, if none is named
#
#   instructions   instructions per packet, counted by callgrind
#   cost           nanoseconds per packet, without I/O
#   scaling        two workers against one, new flows, memory
#   tables         Maglev tables: building and applying
#   figures        the Maglev paper's figures 11 and 12
#   scrape         a scrape of the largest configuration, and what it takes from a worker
#   device         beside testpmd, on DPDK's pcap device
#   pair           between two processes, over memif: throughput without loss, and latency
#
#   --write    puts the tables into docs/performance.md; docs/performance.json has them in any case
#   --strict   a claim that is not met is a failure
#
# Part NAME is benches/NAME.py, the package guideway-NAME in benches/NAME, or the bench target NAME. It prints
# one object, as benches/report.py describes. If a part fails, the others still run, the end names it, and the
# exit status is 1. Times mean something only on an idle machine.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

all=(instructions cost scaling tables figures scrape device pair)
write=() strict=() parts=()
for argument in "$@"; do
    case $argument in
        --write) write=(--write) ;;
        --strict) strict=(--strict) ;;
        *)
            [[ " ${all[*]} " == *" $argument "* ]] || die "no part '$argument'; there are: ${all[*]}"
            parts+=("$argument")
            ;;
    esac
done
[ ${#parts[@]} -gt 0 ] || parts=("${all[@]}")

ci/install.sh build bench

# measure PART: prints its object.
measure() {
    if [ "$1" = instructions ]; then
        # The accepted counts, after a check that they still hold.
        ci/instructions.sh >&2 && "$python" benches/report.py instructions --json
    elif [ -e "benches/$1.py" ]; then
        "$python" "benches/$1.py"
    elif [ -e "benches/$1/Cargo.toml" ]; then
        cargo run --quiet --locked --release -p "guideway-$1"
    else
        cargo bench --quiet --locked -p guideway-suite --bench "$1"
    fi
}

# Build the programs of the scripts before anything is measured.
for part in "${parts[@]}"; do
    [ ! -e "benches/$part.py" ] || { ci/build.sh && break; }
done
if [[ " ${parts[*]} " == *" pair "* ]] && [ -e benches/pair/Cargo.toml ]; then
    cargo build --quiet --locked --release -p guideway-pair
fi

results=$(mktemp -d)
trap 'status=$?; rm -rf "$results"; conclude $status' EXIT
measured=() failed=()
for part in "${parts[@]}"; do
    read -r load _ </proc/loadavg
    step "$part, on $(nproc) CPUs, load average $load"
    if measure "$part" >"$results/$part.json"; then
        measured+=("$results/$part.json")
    else
        printf '%s: FAILED\n' "$part" >&2
        failed+=("$part")
    fi
done

step "results"
status=0
if [ ${#measured[@]} -gt 0 ]; then
    "$python" benches/report.py "${measured[@]}" "${write[@]}" "${strict[@]}" || status=$?
fi
[ ${#failed[@]} -eq 0 ] || die "parts that failed: ${failed[*]}"
exit $status
