#!/usr/bin/env bash
# Proves that everything but the forwarder needs no DPDK: builds and tests these crates with libdpdk hidden. Builds them
# for any x86-64, so that the code for CPUs without the newer instructions is tested too; `cargo test --workspace` tests
# the same crates for the CPU of .cargo/config.toml.
#
#   ci/pure.sh
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

# The directory is that of all portable builds: they share the dependencies.
export CARGO_TARGET_DIR=$PWD/target/portable RUSTFLAGS='' RUSTDOCFLAGS=''
# pkg-config searches only these.
nowhere=$CARGO_TARGET_DIR/no-pkgconfig
mkdir -p "$nowhere"
export PKG_CONFIG_LIBDIR=$nowhere PKG_CONFIG_PATH=$nowhere
unset PKG_CONFIG_SYSROOT_DIR

# The crates that need no DPDK.
crates=(guideway-core guideway-config guideway-netlink guideway-chassis guideway-client guideway-management)
crates+=(guideway-controller guideway-api)

step "libdpdk is out of sight"
! pkg-config --exists libdpdk 2>/dev/null || die "pkg-config still finds libdpdk; this would prove nothing"

step "without libdpdk, for any CPU of the architecture: build and test"
assumed=$(cargo rustc --quiet --locked -p guideway-core --lib -- --print cfg)
grep -q 'target_arch=' <<<"$assumed" || die "cargo does not print the CPU features of the portable build"
! grep -E 'target_feature="(sse3|avx|aes)"' <<<"$assumed" ||
    die "the portable build assumes features of the CPU; this would prove nothing"
tests cargo test --quiet --locked "${crates[@]/#/--package=}"

step "dpdk-sys says which package to install"
if said=$(cargo check --quiet --locked -p dpdk-sys 2>&1); then
    die "dpdk-sys built without libdpdk"
fi
grep -m 1 libdpdk-dev <<<"$said" || {
    printf '%s\n' "$said" >&2
    die "its error does not name libdpdk-dev"
}
