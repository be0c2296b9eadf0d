#!/usr/bin/env bash
# A virtual machine in which DPDK's drivers for real network cards carry the lab's traffic.
#
#   ci/vm.sh test [--all | CASE...]    the short set of cases, all of them, or those named; prints a table
#   ci/vm.sh write                     all cases, and puts their table into docs/drivers.md
#   ci/vm.sh list                      the cases
#   ci/vm.sh shell                     a shell in the guest; it has the checkout as /project
#
# The first run makes the image (two minutes, 2 GB in target/vm). Logs and results are in target/vm-out.
# Needs root; uses sudo where it is not.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=ci/vm/image.sh
. ci/vm/image.sh

usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" | grep -v '^set '
    exit 2
}

action=${1:-}
case $action in
    test) shift ;;
    list | shell | write) [ $# = 1 ] || usage ;;
    *) usage ;;
esac
if [ "$action" = list ]; then exec "$python" ci/vm/cases.py --list; fi
[ "$action" != test ] || "$python" ci/vm/cases.py --check "$@"

if [ -z "${GUIDEWAY_BUILT:-}" ]; then
    ci/install.sh build vm
    [ "$action" = shell ] || ci/build.sh
fi
if [ "$(id -u)" != 0 ]; then exec sudo GUIDEWAY_BUILT=yes "$0" "$action" "$@"; fi
make_image
out=$PWD/target/vm-out
rm -rf "$out"
mkdir -p "$out"
case $action in
    shell) "$python" ci/vm/machine.py "$image" "$out" ;;
    test)
        step "the guest starts"
        "$python" ci/vm/machine.py "$image" "$out" ci/vm/cases.py "$@"
        ;;
    write)
        step "the guest starts"
        "$python" ci/vm/machine.py "$image" "$out" ci/vm/cases.py --all
        "$python" ci/vm/report.py "$out/results.json" --write
        ;;
esac
