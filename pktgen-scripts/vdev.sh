#!/usr/bin/env bash
# One core over a capture that never ends: testpmd's io and 5tswap, and the appliance, one after another.
# Needs no NIC, no hugepages and, for all but the socket's directory, no root.
#
#   pktgen-scripts/vdev.sh flows|syn [SECONDS]      SECONDS of each, 10 if not said
#
# CPU (1) is the one that forwards; it should have nothing else to do. BIN (target/release) holds guideway
# and guidewayctl, as ci/build.sh makes them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

profile=${1:?which profile? flows or syn}
seconds=${2:-10}
cpu=${CPU:-1}
# The device holds the whole capture in the appliance's packet buffers, of which there are only so many.
packets=1024
bin=${BIN:-$here/../target/release}
case $profile in
    flows) entries=65536 ;;
    # A flood: sixteen flows for each entry of the table, so that nearly every SYN is a miss.
    syn) entries=64 ;;
    *)
        echo "vdev.sh: unknown profile '$profile'; there are flows and syn" >&2
        exit 2
        ;;
esac

dir=$(mktemp -d)
running=
finish() {
    [ -z "$running" ] || kill "$running" 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT
capture=$dir/profile.pcap
/usr/bin/python3 "$here/profile.py" "$profile" "$capture" --packets "$packets"
main_cpu=0
[ "$cpu" != 0 ] || main_cpu=1

# testpmd MODE
testpmd() {
    local log=$dir/testpmd.log
    timeout --signal=INT "$seconds" dpdk-testpmd -l "$main_cpu,$cpu" --main-lcore="$main_cpu" \
        --no-huge --no-pci --no-shconf --no-telemetry -m 512 \
        --vdev="net_pcap0,rx_pcap=$capture,infinite_rx=1" \
        -- --forward-mode="$1" --nb-cores=1 --total-num-mbufs=40000 --stats-period=1 >"$log" 2>&1 || true
    # The median of what it says each second, without the first second.
    sed -n 's/^ *Tx-pps: *\([0-9]*\).*/\1/p' "$log" | tail -n +2 | sort -n |
        awk -v what="testpmd $1" '{ at[NR] = $1 }
            END { if (!NR) exit 1; printf "%-20s %7.2f million packets per second\n", what, at[int((NR + 1) / 2)] / 1e6 }' ||
        { tail -n 20 "$log" >&2; exit 1; }
}

transmitted() {
    "$bin/guidewayctl" --socket "$dir/guideway.sock" stats -o json |
        /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["transmitted"])'
}

guideway() {
    local log=$dir/guideway.log before after began ended
    sed -e "s|@DIR@|$dir|; s|@CAPTURE@|$capture|; s|@CPU@|$cpu|; s|@ENTRIES@|$entries|" \
        "$here/vdev.toml" >"$dir/guideway.toml"
    "$bin/guideway" run --config "$dir/guideway.toml" >"$log" 2>&1 &
    running=$!
    for _ in $(seq 100); do
        ! grep -q 'ready; control socket' "$log" || break
        sleep 0.1
    done
    sleep 1
    if ! before=$(transmitted); then
        cat "$log" >&2
        exit 1
    fi
    began=$(date +%s%N)
    sleep "$seconds"
    after=$(transmitted) ended=$(date +%s%N)
    awk -v packets=$((after - before)) -v ns=$((ended - began)) \
        'BEGIN { printf "%-20s %7.2f million packets per second\n", "guideway", packets * 1e3 / ns }'
    "$bin/guidewayctl" --socket "$dir/guideway.sock" stats | awk '$3 > 0'
    kill "$running"
    wait "$running"
    running=
}

read -r load _ </proc/loadavg
echo "profile $profile: $packets flows, flow table of $entries; load average $load at the start"
testpmd io
testpmd 5tswap
guideway
