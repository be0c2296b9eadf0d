#!/usr/bin/env bash
# Runs the core's own tests in Miri, an interpreter that stops at undefined behaviour. The core forbids unsafe code, so
# what is checked is the unsafe code of its dependencies (safe_arch, zerocopy), as the core uses it.
#
#   ci/miri.sh [FILTER...]
#
# By hand, because Miri is a component of nightly Rust only. MIRI_TOOLCHAIN (nightly) is the toolchain's name. Miri runs
# a thousand times slower than the CPU: property tests run PROPTEST_CASES (2) cases, and tests that would take minutes
# are ignored (`cfg_attr(miri, ignore)`). Miri knows the vector and AES instructions of .cargo/config.toml;
# `RUSTFLAGS= ci/miri.sh` runs the code for CPUs without them. Each run is the same, because Miri has no clock and no
# entropy of its own; `MIRIFLAGS=-Zmiri-seed=N` is for other random cases.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

toolchain=${MIRI_TOOLCHAIN:-nightly}
step "Miri of the toolchain '$toolchain'"
if ! cargo "+$toolchain" miri --version 2>/dev/null; then
    cat >&2 <<END
There is no toolchain '$toolchain' with the components miri and rust-src. rustup gets them:
    rustup toolchain install nightly --profile minimal --component miri,rust-src --no-self-update
If the newest nightly lacks Miri, rustup takes an older one. Where rustup cannot reach its server, this check cannot run.
END
    die "no Miri"
fi

# Miri's tests see only these variables. Without its file, proptest need not know the directory.
variables="-Zmiri-env-set=PROPTEST_CASES=${PROPTEST_CASES:-2} -Zmiri-env-set=PROPTEST_DISABLE_FAILURE_PERSISTENCE=1"
mkdir -p target/miri
export MIRIFLAGS="$variables ${MIRIFLAGS:-}" CARGO_TARGET_DIR=$PWD/target/miri
run() { cargo "+$toolchain" miri test --locked -p guideway-core --lib -- "$@"; }

step "Miri: build"
list=$(run --list "$@" 2>"$CARGO_TARGET_DIR/build.log") || {
    cat "$CARGO_TARGET_DIR/build.log" >&2
    die "no build"
}
mapfile -t names < <(sed -n 's/: test$//p' <<<"$list")
[ ${#names[@]} != 0 ] || die "no test matches: $*"

# Miri uses one CPU.
shards=$(nproc)
((shards <= ${#names[@]})) || shards=${#names[@]}
step "Miri: ${#names[@]} tests in $shards processes"
trap 'kill 0' INT # processes in the background do not hear Ctrl-C
logs=() pids=()
for ((shard = 0; shard < shards; shard++)); do
    mine=()
    for ((at = shard; at < ${#names[@]}; at += shards)); do mine+=("${names[at]}"); done
    logs+=("$CARGO_TARGET_DIR/$shard.log")
    run --exact "${mine[@]}" -Zunstable-options --report-time >"${logs[shard]}" 2>&1 &
    pids+=($!)
done
failed=()
for shard in "${!pids[@]}"; do wait "${pids[shard]}" || failed+=("${logs[shard]}"); done
if [ ${#failed[@]} != 0 ]; then
    cat "${failed[@]}" >&2
    die "a test failed, or Miri found undefined behaviour or something that it cannot run"
fi
echo "the slowest, in seconds of Miri's own clock:"
sed -n 's/^test \(.*\) \.\.\. ok <\(.*\)s>$/\2 \1/p' "${logs[@]}" | sort -rn | head -n 5
tests cat "${logs[@]}"
