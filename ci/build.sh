#!/usr/bin/env bash
# Builds the programs for use: target/release/{guideway,guidewayctl,guideway-agent}.
#
#   ci/build.sh
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

ci/install.sh build
step "release build"
cargo build --quiet --locked --release -p guideway -p guidewayctl -p guideway-agent
ls -sh target/release/guideway target/release/guidewayctl target/release/guideway-agent
