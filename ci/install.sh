#!/usr/bin/env bash
# Installs the Debian packages that are missing, and says what else is. To test it also gets the checkers of
# ci/tools.txt from PyPI, into target/tools.
#
#   ci/install.sh [build] [run] [test] [bench] [vm] [distro] [lab-bgp]   default: build run test
#
# Looks for what it needs, not for package names, and touches nothing when all is there. Uses sudo
# where it is not root. A system-wide nginx, BIRD, FRR or Prometheus that comes this way is not started, now or at boot.
# To build it needs Rust too. Where there is none and Debian has a package `rustup`, it installs that and has
# it fetch the stable toolchain, for the user who calls it.
set -euo pipefail
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

file() { compgen -G "$1" >/dev/null; }

# is_there PACKAGE: whether what the package is wanted for is there.
is_there() {
    case $1 in
        libc6-dev) file /usr/include/stdlib.h ;;
        libclang-dev) file '/usr/lib/llvm-*/lib/libclang*.so*' && file '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' ;;
        procps) command -v /usr/sbin/sysctl && type -P kill ;;
        libdpdk-dev) pkg-config --exists libdpdk 2>/dev/null ;;
        dpdk-dev) command -v dpdk-testpmd ;;
        bird2) command -v bird || command -v /usr/sbin/bird ;;
        ca-certificates) file /etc/ssl/certs/ca-certificates.crt ;;
        frr) [ -x /usr/lib/frr/bgpd ] ;;
        iproute2) command -v ip ;;
        e2fsprogs) command -v mke2fs || command -v /usr/sbin/mke2fs ;;
        iputils-ping) command -v ping ;;
        systemd) command -v systemd-analyze ;;
        qemu-user) command -v qemu-x86_64 ;;
        debian-archive-keyring) file /usr/share/keyrings/debian-archive-keyring.gpg ;;
        python3) [ -x "$python" ] ;;
        python3-pytest) "$python" -c 'import pytest' 2>/dev/null ;;
        python3-pytest-xdist) "$python" -c 'import xdist' 2>/dev/null ;;
        python3-pytest-rerunfailures) "$python" -c 'import pytest_rerunfailures' 2>/dev/null ;;
        python3-pip) "$python" -c 'import pip' 2>/dev/null ;;
        python3-scapy) "$python" -c 'import scapy' 2>/dev/null ;;
        python3-jsonschema) "$python" -c 'import jsonschema' 2>/dev/null ;;
        python3-yaml) "$python" -c 'import yaml' 2>/dev/null ;;
        prometheus) command -v prometheus && command -v promtool ;;
        *) command -v "$1" || command -v "/usr/sbin/$1" ;;
    esac >/dev/null
}

packages_for() {
    case $1 in
        # libdpdk-dev depends on every driver of DPDK, so nothing more is needed to run.
        build) echo gcc libc6-dev pkg-config libclang-dev libdpdk-dev ca-certificates ;;
        run) echo nginx iproute2 iputils-ping traceroute ethtool curl tcpdump python3 ;;
        test) echo git g++ procps python3-jsonschema python3-pip python3-pytest python3-pytest-rerunfailures python3-pytest-xdist python3-scapy python3-yaml prometheus tshark shellcheck strace systemd qemu-user lua5.4 dpdk-dev bird2 frr ;;
        bench) echo valgrind dpdk-dev python3 python3-scapy ;;
        vm) echo mmdebstrap debian-archive-keyring e2fsprogs iproute2 python3 ;;
        distro) echo mmdebstrap debian-archive-keyring git ;;
        lab-bgp) echo bird2 frr python3-pytest python3-scapy ;;
        *) die "unknown purpose '$1'; there are build, run, test, bench, vm, distro and lab-bgp" ;;
    esac
}

can_install() { command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian starts a service when its package is installed, unless this file says no. One that is there
# already is the machine's own decision.
policy=/usr/sbin/policy-rc.d
install_packages() {
    local own_policy=no status=0 log
    log=$(mktemp)
    if [ ! -e "$policy" ]; then
        own_policy=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    # shellcheck disable=SC2024 # the log is ours, not root's
    {
        as_root apt-get update -q &&
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get install -q -y --no-install-recommends "$@"
    } </dev/null >"$log" 2>&1 || status=$?
    [ "$own_policy" = no ] || as_root rm -f "$policy"
    if [ "$status" != 0 ]; then
        tail -n 20 "$log" >&2
        die "apt-get failed; the whole log is $log"
    fi
    if [ -d /run/systemd/system ]; then
        [[ " $* " != *" nginx "* ]] || as_root systemctl --quiet disable nginx.service
        [[ " $* " != *" bird2 "* ]] || as_root systemctl --quiet disable bird.service
        [[ " $* " != *" frr "* ]] || as_root systemctl --quiet disable frr.service
        [[ " $* " != *" prometheus "* ]] || as_root systemctl --quiet disable prometheus.service
    fi
    rm -f "$log"
}

has_cargo() { cargo --version >/dev/null 2>&1; } # a rustup without a toolchain has one that fails

# Debian has rustup from 13 on.
install_rustup() {
    command -v rustup >/dev/null && return
    can_install || return
    as_root apt-get update -q </dev/null >/dev/null 2>&1 || return
    apt-get install --simulate rustup >/dev/null 2>&1 || return
    step "installing rustup"
    install_packages rustup
}

check_rust() {
    local needed found
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    if ! has_cargo && install_rustup; then
        rustup default stable ||
            die "Rust $needed or newer is needed, and rustup did not get it. When it can, run: rustup default stable"
    fi
    if ! has_cargo; then
        die "Rust $needed or newer is needed, and there is no cargo. Get it from https://rustup.rs:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
then run this again."
    fi
    found=$(cargo --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" != "$needed" ]; then
        die "Rust $needed or newer is needed, and cargo is $found. Update it with: rustup update stable"
    fi
}

# Into a directory of its own, so that nothing of the system's Python or the user's changes.
install_tools() {
    ! cmp -s ci/tools.txt "$tools/tools.txt" || return 0
    step "installing the tools of ci/tools.txt"
    rm -rf "$tools"
    mkdir -p "$tools"
    "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
        --require-hashes --only-binary :all: --target "$tools" --requirement ci/tools.txt ||
        die "pip failed; PyPI or an index that PIP_INDEX_URL names has to be in reach"
    cp ci/tools.txt "$tools/tools.txt" # last: it says that all are there
}

purposes=("$@")
[ $# -gt 0 ] || purposes=(build run test)
[[ " ${purposes[*]} " != *" build "* ]] || check_rust
missing=()
for purpose in "${purposes[@]}"; do
    for package in $(packages_for "$purpose"); do
        is_there "$package" || missing+=("$package")
    done
done
if [ ${#missing[@]} -gt 0 ]; then
    step "installing ${missing[*]}"
    command -v apt-get >/dev/null ||
        die "this is no Debian; install what these packages hold by other means: ${missing[*]}"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        die "not root, and no sudo; run as root: apt-get install --no-install-recommends ${missing[*]}"
    install_packages "${missing[@]}"
    for package in "${missing[@]}"; do
        is_there "$package" || die "$package is installed, but what it is wanted for is still missing"
    done
fi
[[ " ${purposes[*]} " != *" test "* ]] || install_tools
