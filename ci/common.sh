# shellcheck shell=bash
# Shared by the scripts beside this one, which source it.
#
# Goes to the repository's root, finds cargo where rustup puts it, and provides:
#   step TEXT      prints the heading of a step
#   die TEXT       prints an error and ends the script with status 1
#   tests COMMAND  runs a `cargo test`; shows its output only if it fails, and the sum otherwise
# When the script ends, it prints the total time, and whether it failed.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
export PATH
export RUSTUP_AUTO_INSTALL=0 # no script renews a toolchain unasked; ci/install.sh gets the first one
python=/usr/bin/python3 # Debian's, which has the Debian packages, even if PATH has another first
export python
# shellcheck disable=SC2034 # the scripts use it
tools=$PWD/target/tools # where ci/install.sh puts the tools of ci/tools.txt
# If a script calls another, only the outer one prints the total.
GUIDEWAY_CI_DEPTH=$((${GUIDEWAY_CI_DEPTH:-0} + 1))
export GUIDEWAY_CI_DEPTH
current_step="start"
SECONDS=0

step() {
    current_step=$*
    printf '\n== %s\n' "$*"
}

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

tests() {
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        die "tests failed: $*"
    fi
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END {
            printf "%d passed, %d failed, %d ignored\n", passed, failed, ignored
            exit passed == 0
        }' "$log" || die "no test ran: $*"
    rm -f "$log"
}

# An EXIT trap must read the script's exit status first.
conclude() {
    local status=$1
    if [ "$status" != 0 ]; then
        printf '\n%s FAILED (status %s) in: %s\n' "$(basename "$0")" "$status" "$current_step" >&2
    elif [ "$GUIDEWAY_CI_DEPTH" = 1 ]; then
        printf '\n%s done in %d min %02d s\n' "$(basename "$0")" $((SECONDS / 60)) $((SECONDS % 60))
    fi
}
trap 'conclude $?' EXIT
