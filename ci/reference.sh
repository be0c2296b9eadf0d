#!/usr/bin/env bash
# Writes docs/configuration.md and fuzz/dictionaries/configuration from the declarations of the configuration's
# keys, config/src/sections/. Tests of guideway-config fail while either is stale.
#
#   ci/reference.sh
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

GUIDEWAY_WRITE_REFERENCE=1 cargo test --quiet --locked -p guideway-config --lib documentation
git --no-pager diff --stat -- docs/configuration.md fuzz/dictionaries/configuration
