#!/usr/bin/env bash
# Writes docs/configuration.md and fuzz/dictionaries/configuration from the declarations of the configuration's
# keys, config/src/sections/, and docs/metrics.md from the lists of metrics, management/src/metrics/list.rs and
# controller/src/metrics/list.rs. Tests of these crates fail while one of the files is stale.
#
#   ci/reference.sh
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

export GUIDEWAY_WRITE_REFERENCE=1
cargo test --quiet --locked -p guideway-config --lib documentation
cargo test --quiet --locked -p guideway-management -p guideway-controller --lib the_documentation_is_current
git --no-pager diff --stat -- docs/configuration.md docs/metrics.md fuzz/dictionaries/configuration
