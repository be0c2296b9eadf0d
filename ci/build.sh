#!/usr/bin/env bash
# Builds the programs for use: target/release/{guideway,guidewayctl,guideway-controller,guideway-agent}.
#
#   ci/build.sh               for an x86-64-v3 CPU with AES, as .cargo/config.toml says
#   ci/build.sh --portable    for any CPU of the architecture, in target/portable/release
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

target=target
case "$*" in
    '') ;;
    --portable)
        target=target/portable
        export RUSTFLAGS='' # instead of those in .cargo/config.toml
        ;;
    *) die "unknown arguments '$*'; there is --portable" ;;
esac

ci/install.sh build
step "release build"
programs=(guideway guidewayctl guideway-controller guideway-agent)
cargo build --quiet --locked --release --target-dir $target "${programs[@]/#/--package=}"
ls -sh "${programs[@]/#/$target/release/}"
