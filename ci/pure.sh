#!/usr/bin/env bash
# Proves that the balancing core needs no DPDK: builds and tests the forwarder without its default
# features where libdpdk cannot be found, in a target directory of its own. Does so for the CPU that
# .cargo/config.toml names and for the plainest one, so that what stands in for its instructions is tested too.
#
#   ci/pure.sh
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

# pkg-config searches nothing but these.
nowhere=$PWD/target/pure/no-pkgconfig
mkdir -p "$nowhere"
export PKG_CONFIG_LIBDIR=$nowhere PKG_CONFIG_PATH=$nowhere CARGO_TARGET_DIR=$PWD/target/pure
unset PKG_CONFIG_SYSROOT_DIR

step "libdpdk is out of sight"
! pkg-config --exists libdpdk 2>/dev/null || die "pkg-config still finds libdpdk; the proof would be none"
tree=$(cargo tree --locked -p guideway --no-default-features -e normal,build)
! grep -w dpdk-sys <<<"$tree" || die "dpdk-sys is a dependency even without the feature dpdk"

step "forwarder, without DPDK: build and test"
tests cargo test --quiet --locked -p guideway --no-default-features

step "forwarder, without DPDK, for any CPU of the architecture: build and test"
portable() { RUSTFLAGS='' RUSTDOCFLAGS='' CARGO_TARGET_DIR=$PWD/target/pure/portable "$@"; }
assumed=$(portable cargo rustc --quiet --locked -p guideway --no-default-features --lib -- --print cfg)
grep -q 'target_arch=' <<<"$assumed" || die "cargo does not say what the portable build assumes of the CPU"
! grep -E 'target_feature="(sse3|avx|aes)"' <<<"$assumed" ||
    die "the portable build assumes features of the CPU; the proof would be none"
portable tests cargo test --quiet --locked -p guideway --no-default-features

step "dpdk-sys says which package to install"
if said=$(cargo check --quiet --locked -p dpdk-sys 2>&1); then
    die "dpdk-sys built without libdpdk"
fi
grep -m 1 libdpdk-dev <<<"$said" || {
    printf '%s\n' "$said" >&2
    die "its error does not name libdpdk-dev"
}
