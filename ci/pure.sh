#!/usr/bin/env bash
# Proves that everything but the forwarder needs no DPDK: builds and tests these crates with libdpdk hidden, in
# their own target directory. Does so for the CPU of .cargo/config.toml and for any x86-64, so that the code for
# CPUs without the newer instructions is tested too.
#
#   ci/pure.sh
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

# pkg-config searches only these.
nowhere=$PWD/target/pure/no-pkgconfig
mkdir -p "$nowhere"
export PKG_CONFIG_LIBDIR=$nowhere PKG_CONFIG_PATH=$nowhere CARGO_TARGET_DIR=$PWD/target/pure
unset PKG_CONFIG_SYSROOT_DIR

step "libdpdk is out of sight"
! pkg-config --exists libdpdk 2>/dev/null || die "pkg-config still finds libdpdk; this would prove nothing"

step "without libdpdk: build and test"
tests cargo test --quiet --locked "${pure_crates[@]/#/--package=}"

step "without libdpdk, for any CPU of the architecture: build and test"
portable() { RUSTFLAGS='' RUSTDOCFLAGS='' CARGO_TARGET_DIR=$PWD/target/pure/portable "$@"; }
assumed=$(portable cargo rustc --quiet --locked -p guideway-core --lib -- --print cfg)
grep -q 'target_arch=' <<<"$assumed" || die "cargo does not print the CPU features of the portable build"
! grep -E 'target_feature="(sse3|avx|aes)"' <<<"$assumed" ||
    die "the portable build assumes features of the CPU; this would prove nothing"
portable tests cargo test --quiet --locked "${pure_crates[@]/#/--package=}"

step "dpdk-sys says which package to install"
if said=$(cargo check --quiet --locked -p dpdk-sys 2>&1); then
    die "dpdk-sys built without libdpdk"
fi
grep -m 1 libdpdk-dev <<<"$said" || {
    printf '%s\n' "$said" >&2
    die "its error does not name libdpdk-dev"
}
