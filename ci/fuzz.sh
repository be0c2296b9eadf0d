#!/usr/bin/env bash
# Runs the fuzz targets, FUZZ_SECONDS (20) each, beginning with the seeds and all earlier findings.
#
#   ci/fuzz.sh [TARGET...]
#
# Stable Rust and a C++ compiler suffice: the coverage that libFuzzer feeds on is an ordinary LLVM pass. No
# sanitizer is needed, for the code under test forbids unsafe code; overflow and debug assertions are on.
# What is learned stays in fuzz/corpus, a finding in fuzz/findings; git ignores both.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${FUZZ_SECONDS:-20}
if [ $# -gt 0 ]; then
  targets=("$@")
else
  targets=()
  for file in targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

host=$(rustc -vV | sed -n 's/^host: //p')
flags=(
  --cfg=fuzzing
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
)
# With a target named, the flags reach the code under test alone, not build scripts and macros.
RUSTFLAGS="${flags[*]}" cargo build --quiet --release --locked --target "$host" --bins
programs=${CARGO_TARGET_DIR:-target}/$host/release

failed=()
for target in "${targets[@]}"; do
  corpus=corpus/$target findings=findings/$target log=findings/$target.log
  mkdir -p "$corpus" "$findings"
  inputs=("$corpus" "seeds/$target")
  if [ -d "regressions/$target" ]; then inputs+=("regressions/$target"); fi
  echo "fuzz: $target for $seconds s"
  if ! "$programs/$target" -max_total_time="$seconds" -max_len=4096 -timeout=5 \
    -print_final_stats=1 -artifact_prefix="$findings/" "${inputs[@]}" >"$log" 2>&1; then
    grep -A 3 'panicked at' "$log" || tail -n 40 "$log"
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    echo "fuzz: $target FAILED; the whole log is fuzz/$log"
    if [ -n "$input" ]; then
      echo "fuzz: the input is kept as fuzz/$input. To see it fail again:"
      echo "    (cd fuzz && $programs/$target $input)"
      echo "fuzz: when it is mended, move the input to fuzz/regressions/$target/ under a name that says"
      echo "fuzz: what was wrong, and add its sentence to fuzz/regressions/README.md"
    fi
    failed+=("$target")
    continue
  fi
  # Without instrumentation libFuzzer still runs, but blind.
  if ! grep -q 'inline 8-bit counters' "$log"; then
    echo "fuzz: $target has no coverage instrumentation, so it found nothing; see fuzz/$log"
    failed+=("$target")
    continue
  fi
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  echo "fuzz: $target: $executed inputs, $coverage edges, nothing found"
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "fuzz: failed: ${failed[*]}"
  exit 1
fi
