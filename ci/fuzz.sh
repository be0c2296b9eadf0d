#!/usr/bin/env bash
# Runs the fuzz targets, FUZZ_SECONDS (20) each and one on each CPU, beginning with the seeds and all earlier findings.
#
#   ci/fuzz.sh [TARGET...]
#
# Stable Rust and a C++ compiler suffice: libFuzzer's coverage is an ordinary LLVM pass. No sanitizer is needed,
# because the code under test forbids unsafe code. Overflow checks and debug assertions are on. The corpus is in
# fuzz/corpus, and findings are in fuzz/findings; git ignores both.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"
cd fuzz

seconds=${FUZZ_SECONDS:-20}
# libFuzzer would treat any other word as no limit.
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "FUZZ_SECONDS is a number, 1 or more"
targets=("$@")
if [ $# = 0 ]; then
    for file in targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
for target in "${targets[@]}"; do
    [ -f "targets/$target.rs" ] || die "no target '$target'; there are: $(ls targets)"
done

step "fuzz: build"
command -v "${CXX:-c++}" >/dev/null || die "libFuzzer is C++: install g++"
instrumentation=${CARGO_TARGET_DIR:-target}/instrumentation.toml
mkdir -p "${CARGO_TARGET_DIR:-target}"
host=$(rustc -vV | sed -n 's/^host: //p')
# In addition to the flags of .cargo/config.toml, so that the programs' own code is fuzzed.
cat >"$instrumentation" <<END
[target.$host]
rustflags = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
]
END
# With --target the flags apply to the code under test, not to build scripts and macros.
env -u RUSTFLAGS cargo --config "$instrumentation" build --quiet --release --locked --target "$host" --bins ||
    die "no build; if a dependency of the forwarder changed: (cd fuzz && cargo update --workspace)"
programs=${CARGO_TARGET_DIR:-target}/$host/release

# fuzz TARGET: runs one target and prints what it found. Fails if there is something to look at.
fuzz() {
    local target=$1 corpus=corpus/$1 findings=findings/$1 log=findings/$1.log inputs options=() input executed coverage
    mkdir -p "$corpus" "$findings"
    inputs=("$corpus" "seeds/$target")
    if [ -d "regressions/$target" ]; then inputs+=("regressions/$target"); fi
    if [ -f "dictionaries/$target" ]; then options+=("-dict=dictionaries/$target"); fi
    if ! "$programs/$target" -max_total_time="$seconds" -max_len=4096 -timeout=5 -print_final_stats=1 \
        -artifact_prefix="$findings/" "${options[@]}" "${inputs[@]}" >"$log" 2>&1; then
        grep -A 3 'panicked at' "$log" || tail -n 40 "$log"
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        echo "$target FAILED; the whole log is fuzz/$log"
        if [ -n "$input" ]; then
            echo "The input is kept as fuzz/$input. To see it fail again:"
            echo "    (cd fuzz && $programs/$target $input)"
            echo "When it is mended, move the input to fuzz/regressions/$target/ under a name that says"
            echo "what was wrong, and add its sentence to fuzz/regressions/README.md."
        fi
        return 1
    fi
    # Without instrumentation libFuzzer runs too, but without coverage.
    if ! grep -q 'inline 8-bit counters' "$log"; then
        echo "$target has no coverage instrumentation, so it cannot find much; see fuzz/$log"
        return 1
    fi
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    echo "$target: $executed inputs, $coverage edges, nothing found"
}

# A target uses one CPU.
shards=$(nproc)
((shards <= ${#targets[@]})) || shards=${#targets[@]}
step "fuzz: ${#targets[@]} targets, $seconds s each, $shards at once"
trap 'kill 0' INT # processes in the background do not hear Ctrl-C
pids=()
for ((shard = 0; shard < shards; shard++)); do
    (
        trap - EXIT # the outer shell concludes
        status=0
        for ((at = shard; at < ${#targets[@]}; at += shards)); do
            said=$(fuzz "${targets[at]}") || status=1
            printf '%s\n' "$said" # at once, so that two targets do not mix their lines
        done
        exit "$status"
    ) &
    pids+=($!)
done
failed=no
for pid in "${pids[@]}"; do wait "$pid" || failed=yes; done
[ "$failed" = no ] || die "a target failed"
