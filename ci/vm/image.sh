# shellcheck shell=bash
# The image of the virtual machine; ci/vm.sh sources this file. Provides:
#   make_image   sets `image`, a directory in target/vm, and creates what is missing in it:
#                emulator/   a Debian with qemu, for chroot: this machine's own Debian does not change
#                disk.img    the guest's file system, of the Debian that the programs were built on
#                kernel, initrd
# The directory's name is a hash of the two files that define its content, so that the content is never outdated.

# qemu 10 has the igb (82576), which Debian 12's own lacks; Debian 13 has it.
emulator_packages=(qemu-system-x86 qemu-system-common qemu-system-data seabios)
guest_packages=(
    linux-image-amd64 initramfs-tools udev kmod librte-meta-all
    iproute2 ethtool iputils-ping nginx-light python3 procps pciutils tcpdump bird2
)

make_emulator() {
    local root=$1 suite=$2 include
    # shellcheck disable=SC2016 # mmdebstrap's shell expands $1
    if [ "$suite" = bookworm ]; then
        include=$(printf '%s/bookworm-backports,' "${emulator_packages[@]}")
        mmdebstrap --quiet --variant=apt --include="${include%,}" \
            --setup-hook='sed -n "s/ bookworm main/ bookworm-backports main/p" "$1/etc/apt/sources.list" >"$1/etc/apt/sources.list.d/backports.list"' \
            "$suite" "$root"
    else
        include=$(printf '%s,' "${emulator_packages[@]}")
        mmdebstrap --quiet --variant=apt --include="${include%,}" "$suite" "$root"
    fi
    mkdir -p "$root/image" "$root/project" "$root/out"
}

make_guest() {
    local root=$1 suite=$2 include
    include=$(printf '%s,' "${guest_packages[@]}")
    # The initial RAM disk has only what finds the disk. No service starts by itself.
    # shellcheck disable=SC2016 # mmdebstrap's shell expands $1
    mmdebstrap --quiet --variant=minbase --include="${include%,}" \
        --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
        --essential-hook='echo MODULES=list >"$1/etc/initramfs-tools/conf.d/modules"' \
        --essential-hook='printf "virtio_pci\nvirtio_blk\next4\n" >"$1/usr/share/initramfs-tools/modules.d/disk"' \
        --essential-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"' \
        --customize-hook='mkdir -p "$1/project" "$1/out"' \
        --customize-hook="copy-in ci/vm/init /sbin" \
        "$suite" "$root"
}

make_image() {
    local suite hash root
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
    hash=$(cat ci/vm/image.sh ci/vm/init <(echo "$suite") | sha256sum | cut -c 1-16)
    image=$PWD/target/vm/$hash
    if [ -e "$image/complete" ]; then return; fi
    # Images with other hashes are outdated.
    rm -rf target/vm
    mkdir -p "$image"
    step "the emulator: a Debian with qemu"
    make_emulator "$image/emulator" "$suite"
    step "the guest: a Debian with a kernel and DPDK"
    root=$image/guest
    make_guest "$root" "$suite"
    cp "$root"/boot/vmlinuz-* "$image/kernel"
    cp "$root"/boot/initrd.img-* "$image/initrd"
    rm -rf "${root:?}"/boot/*
    mke2fs -q -t ext4 -d "$root" "$image/disk.img" 3G
    rm -rf "$root"
    touch "$image/complete"
}
