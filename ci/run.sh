#!/usr/bin/env bash
# The demonstration: real TCP connections, spread by the forwarder over three real web servers.
#
#   ci/run.sh [--connections N]
#
# Builds, brings the lab up, makes N (default 6000) connections, prints each server's share beside its weight's
# share, and shows guidewayctl's output. Fails if a connection failed, a share is more than 10 percent off, or a
# program did not end well. Always takes the lab down.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

connections=6000
if [ "${1:-}" = --connections ]; then
    connections=${2:-}
    [[ $connections =~ ^[1-9][0-9]*$ ]] || die "--connections needs a number, 1 or more"
    shift 2
fi
[ $# -eq 0 ] || die "unknown argument '$1'"

ci/install.sh build run
ci/build.sh
dir=$(mktemp -d)
driver=

finish() {
    local status=$?
    trap '' INT TERM
    [ -z "$driver" ] || kill "$driver" 2>/dev/null || true
    if [ -e "$dir/prefix" ]; then
        # A step of its own, apart from one that failed.
        [ "$status" != 0 ] || step "taking the lab down"
        if [ "$status" != 0 ] && [ -s "$dir/guideway.log" ]; then
            printf '\nthe last lines of the forwarder:\n' >&2
            tail -n 20 "$dir/guideway.log" >&2
        fi
        if ci/lab.sh down --dir "$dir"; then
            printf 'all taken down\n'
        elif [ "$status" = 0 ]; then
            status=1
        fi
    fi
    rm -rf "$dir"
    conclude "$status"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

step "the lab comes up: clients, forwarder, three web servers"
ci/lab.sh up --dir "$dir"
# shellcheck source=/dev/null
. "$dir/lab.env"

step "$connections new TCP connections to $LAB_VIP4 and $LAB_VIP6, from 16 client addresses"
ci/lab.sh exec --dir "$dir" clients "$python" ci/lab/drive.py \
    --weight s1=1 --weight s2=1 --weight s3=2 --connections "$connections" &
# In the background with `wait`, because bash handles a signal only after a command in the foreground.
driver=$!
wait "$driver"
driver=

for what in status "service list" "backend list" "worker list" "stats"; do
    step "guidewayctl $what"
    # shellcheck disable=SC2086 # noun and verb
    ci/lab.sh exec --dir "$dir" lb "$LAB_GUIDEWAYCTL" --socket "$LAB_SOCKET" $what
done
