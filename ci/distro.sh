#!/usr/bin/env bash
# Runs `make test`, or another command, on a freshly installed Debian: 12 (DPDK 22.11) or 13 (DPDK 24.11).
#
#   ci/distro.sh 12|13 [--root DIR] [COMMAND...]        COMMAND may be `bash`, to look around
#
#   --root DIR   keep the system in DIR, or use the system there; by default the system is new, and removed at the end
#
# mmdebstrap makes the system, which gets a copy of this checkout, uncommitted changes included. Debian's packages,
# the crates and the tools come over the network. Then the command runs without network, in its own namespaces of mounts,
# processes and interfaces, so that nothing is left when it ends. The system shares the kernel and its huge pages.
# `make test` needs several GB in TMPDIR (/var/tmp).
#
# ci/install.sh installs Rust. If it cannot, the system uses this machine's toolchain, read-only.
# Needs root; uses sudo if run as another user.
set -euo pipefail
arguments=("$@")
# shellcheck source=ci/common.sh
. "$(dirname "$0")/common.sh"

case ${1:-} in
    12) suite=bookworm ;;
    13) suite=trixie ;;
    *) die "which Debian? Write 12 or 13, not '${1:-}'" ;;
esac
release=$1
shift
root=
if [ "${1:-}" = --root ]; then
    [[ ${2:-} = /* ]] || die "--root needs an absolute path, not '${2:-}'"
    root=$2
    shift 2
fi
[[ ${1:-} != -* ]] || die "unknown option '$1'; there is --root"
command=("$@")
[ $# -gt 0 ] || command=(make test)
# The caller's settings for proxies, cargo and pip, without paths on this machine.
settings=()
while IFS= read -r name; do
    case $name in
        CARGO | CARGO_HOME | CARGO_TARGET_DIR | CARGO_MANIFEST_* | CARGO_PKG_*) ;;
        *) settings+=("$name=${!name}") ;;
    esac
done < <(compgen -e | grep -iE '^(https?|all|no)_proxy$|^CARGO_|^PIP_INDEX_URL$|^FUZZ_SECONDS$|^CI$')
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "needs root, and there is no sudo"
    # sudo sets its own PATH and HOME; the toolchain is the caller's.
    exec sudo env PATH="$PATH" HOME="$HOME" "${settings[@]}" ci/distro.sh "${arguments[@]}"
fi

inside=/root/guideway # the checkout, in the new system
borrowed=/opt/toolchain # this machine's Rust toolchain, in the new system
kept=$root
child=

finish() {
    local status=$?
    trap '' INT TERM
    if [ -n "$child" ]; then
        # --kill-child then kills all its children. The process blocks milder signals.
        kill -KILL "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    # Its mounts went with their namespace. The last processes may still be ending.
    if [ -z "$kept" ] && [ -n "$root" ]; then
        rm -rf --one-file-system "$root" 2>/dev/null || { sleep 2 && rm -rf --one-file-system "$root"; }
    fi
    conclude "$status"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
environment=(HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" PATH="$path" "${settings[@]}")

# enter [--unshare-option...] -- COMMAND...: runs COMMAND in the new system's checkout.
enter() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    # The first process of a namespace must wait for orphans, as bash does, so bash does not exec the command.
    # shellcheck disable=SC2016 # the inner shells expand these
    unshare --mount --propagation private --pid --fork --kill-child "${options[@]}" bash -euc '
        root=$1 toolchain=$2 place=$3 inside=$4
        shift 4
        mount --bind "$root" "$root" # ip netns exec wants / to be a mount
        mount -t proc proc "$root/proc"
        mount -t sysfs sysfs "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
        mount --bind "$root/dev/pts/ptmx" "$root/dev/ptmx"
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        mount -t tmpfs -o mode=755 tmpfs "$root/run"
        [ -z "$toolchain" ] || mount --bind -o ro "$toolchain" "$root$place"
        chroot "$root" env -i "$@"' \
        enter "$root" "$toolchain" "$borrowed" "$inside" \
        "${environment[@]}" sh -c 'cd "$0" && exec "$@"' "$inside" "$@" <&0 &
    child=$!
    local status=0
    wait "$child" || status=$?
    child=
    return $status
}

# took TEXT: adds the time since the last one to the summary.
summary=()
last=0
took() {
    summary+=("$(printf '%-10s %3d min %02d s' "$1" $(((SECONDS - last) / 60)) $(((SECONDS - last) % 60)))")
    last=$SECONDS
}

make_system() {
    # --include: what a reader of the README has; ci/install.sh must find the rest missing.
    mmdebstrap --quiet --variant=minbase --include=make,ca-certificates,git "$suite" "$root"
    # This machine may trust the authority of a proxy that intercepts TLS.
    if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
        cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
        chroot "$root" update-ca-certificates >/dev/null 2>&1
    fi
    local config=${CARGO_HOME:-$HOME/.cargo}/config.toml
    if [ -e "$config" ]; then
        install -D -m 600 "$config" "$root/root/.cargo/config.toml"
    fi
    mkdir -p "$root$borrowed"
}

# Copies the history and the files, without those that git ignores. A system that is kept keeps its build.
copy_checkout() (
    new=$root$inside.new
    rm -rf "$new"
    mkdir "$new"
    # The checkout may belong to another user than root.
    export GIT_CONFIG_GLOBAL=$root/root/.gitconfig
    printf '[safe]\n\tdirectory = *\n' >"$GIT_CONFIG_GLOBAL"
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git clone --quiet --no-hardlinks --no-checkout . "$new"
        git -C "$new" reset --quiet
        git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
            [ ! -e "$file" ] || printf '%s\0' "$file"
        done | tar --create --null --files-from - | tar --extract --directory "$new" --no-same-owner
    else
        tar --create --exclude ./target --exclude ./fuzz/target . | tar --extract --directory "$new" --no-same-owner
    fi
    for built in target fuzz/target; do
        [ ! -e "$root$inside/$built" ] || mv "$root$inside/$built" "$new/$built"
    done
    rm -rf "${root:?}$inside"
    mv "$new" "$root$inside"
)

ci/install.sh distro
toolchain=
if [ -n "$kept" ]; then
    mkdir -p "$root"
else
    root=$(mktemp -d "${TMPDIR:-/var/tmp}/guideway-debian$release-XXXXXX")
fi
chmod 755 "$root"
if [ ! -e "$root/etc/debian_version" ]; then
    step "Debian $release: a new system in $root"
    make_system
fi
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
copy_checkout
took system

step "Debian $release: packages and crates"
if ! enter -- ci/install.sh build; then
    toolchain=$(rustc --print sysroot) || die "there is no Rust toolchain to borrow"
    printf '\nthe new system gets this machine'\''s toolchain, %s: its own ci/install.sh got none, as said above\n' \
        "$(rustc --version)"
    environment+=("PATH=$borrowed/bin:$path")
    enter -- ci/install.sh build
fi
enter -- ci/install.sh run test bench
enter -- cargo fetch --quiet --locked
enter -- cargo fetch --quiet --locked --manifest-path fuzz/Cargo.toml
took packages

step "Debian $release: what is there"
enter -- sh -c '
    printf "kernel    "; uname -r
    printf "dpdk      "; pkg-config --modversion libdpdk
    rustc --version; cc --version | head -n 1; /usr/bin/python3 --version
    /usr/bin/python3 -c "import scapy; print(\"scapy\", scapy.VERSION)"
    tshark --version 2>/dev/null | head -n 1; ip -V
    systemd-analyze --version | head -n 1; qemu-x86_64 --version | head -n 1'
last=$SECONDS

step "Debian $release: ${command[*]}"
status=0
enter --net -- sh -c 'ip link set lo up && CARGO_NET_OFFLINE=true exec "$@"' sh "${command[@]}" || status=$?
took command

step "Debian $release: ${command[*]} ended with status $status"
printf '%s\n' "${summary[@]}"
[ $status = 0 ] || exit $status
