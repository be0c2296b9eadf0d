# shellcheck shell=bash
# The options of ci/lab.sh, which sources this file. They are checked before sudo asks for a password, and before
# anything is set up. Provides:
#   read_options OPTION...          sets dir, bin, workers, forwarder, clients_mtu, fabric_mtu, driver,
#                                   device, uplink, steering, idle, hugepages, tunnels and encapsulations;
#                                   `rest` is the words after the options
#   one_of OPTION VALUE NAME...     fails unless VALUE is one of the names
# shellcheck disable=SC2034 # lab.sh uses these variables

dir=/run/guideway-lab
bin=$root/target/release
workers=
forwarder=yes
clients_mtu=1500
fabric_mtu=1600
driver=af_packet
device=
uplink=
steering=auto
idle=pause
hugepages=false
tunnels=agent
# Every encapsulation of the forwarder; tests/tools/test_encapsulations.py compares it with the program's own list.
known_encapsulations=(gre ipip gue gue0 gre-udp vxlan geneve mpls-udp mpls-gre l2)
# Those that the kernel's own devices take off, too.
kernel_encapsulations=(gre ipip gue gue0 gre-udp vxlan geneve mpls-udp mpls-gre)
encapsulations=(gre gre gre)

die() {
    printf 'lab: %s\n' "$*" >&2
    exit 1
}

one_of() {
    local option=$1 value=$2
    shift 2
    [[ " $* " == *" $value "* && $value != *" "* ]] || die "$option: '$value' is none of: $*"
}

read_dir() {
    case $1 in /*) dir=$1 ;; *) dir=$PWD/$1 ;; esac
    # The path is part of nginx's configuration, of TOML strings, and of sockets' paths, which have 107 bytes.
    [[ $dir =~ ^[A-Za-z0-9/._+-]+$ ]] || die "--dir: '$dir' has other characters than A-Z a-z 0-9 / . _ + -"
    [ ${#dir} -le 80 ] || die "--dir: '$dir' has more than 80 characters, too many for the sockets in it"
}

read_workers() {
    local cpu seen=" "
    [[ $1 =~ ^(0|[1-9][0-9]{0,3})(\ (0|[1-9][0-9]{0,3}))*$ ]] ||
        die "--workers: '$1' is no list of CPUs; write for example \"0 1\""
    for cpu in $1; do
        [[ $seen != *" $cpu "* ]] || die "--workers: CPU $cpu is there twice; each worker needs its own"
        taskset -c "$cpu" true 2>/dev/null ||
            die "--workers: this process may not use CPU $cpu; it uses $(taskset -pc $$ | sed 's/.*: //')"
        seen+="$cpu "
    done
    workers=$1
}

# read_mtu OPTION M
read_mtu() {
    [[ $2 =~ ^[1-9][0-9]{3}$ && $2 -ge 1500 && $2 -le 9216 ]] ||
        die "$1: '$2' is no number from 1500 to 9216"
    if [ "$1" = --clients-mtu ]; then clients_mtu=$2; else fabric_mtu=$2; fi
}

# read_encapsulation E: sets the array `encapsulations`, one name for each server.
read_encapsulation() {
    local name
    [ "$1" != mix ] || set -- gue,vxlan,l2
    IFS=, read -r -a encapsulations <<<"$1"
    [ ${#encapsulations[@]} != 1 ] || encapsulations=("$1" "$1" "$1")
    [ ${#encapsulations[@]} = 3 ] || die "--encapsulation $1: give one name, three, or mix"
    for name in "${encapsulations[@]}"; do
        one_of --encapsulation "$name" "${known_encapsulations[@]}"
    done
}

read_device() {
    # The name is part of a TOML string.
    [[ $1 =~ ^[A-Za-z0-9_:.,=/-]+$ ]] ||
        die "--device: '$1' is no PCI address, such as 0000:3b:00.0, and no virtual device of DPDK"
    device=$1
}

read_uplink() {
    [ -e "/sys/class/net/$1" ] || die "--uplink: there is no interface '$1'; see: ip link"
    uplink=$1
}

read_options() {
    local option value
    while [ $# -gt 0 ]; do
        option=$1 value=${2:-}
        case $option in
            --no-forwarder | --hugepages)
                if [ "$option" = --hugepages ]; then hugepages=true; else forwarder=no; fi
                shift
                continue
                ;;
            --dir | --bin | --workers | --encapsulation | --clients-mtu | --fabric-mtu | --driver | --steering) ;;
            --device | --uplink | --idle | --tunnels) ;;
            -*) die "unknown option '$option'; see $0" ;;
            *) break ;;
        esac
        [[ -n $value && $value != --* ]] || die "$option needs a value; see $0"
        case $option in
            --dir) read_dir "$value" ;;
            --bin) bin=$value ;;
            --workers) read_workers "$value" ;;
            --encapsulation) read_encapsulation "$value" ;;
            --clients-mtu | --fabric-mtu) read_mtu "$option" "$value" ;;
            --driver) one_of "$option" "$value" af_packet af_xdp && driver=$value ;;
            --device) read_device "$value" ;;
            --uplink) read_uplink "$value" ;;
            --steering) one_of "$option" "$value" auto queues ring && steering=$value ;;
            --idle) one_of "$option" "$value" poll pause interrupt && idle=$value ;;
            --tunnels) one_of "$option" "$value" agent kernel && tunnels=$value ;;
        esac
        shift 2
    done
    rest=("$@")
    [ -z "$device" ] || [ -n "$uplink" ] ||
        die "--device needs --uplink: the interface at the other end of the cable"
    [ -z "$uplink" ] || [ -n "$device" ] || die "--uplink is of use with --device only"
    [ "$clients_mtu" -le "$fabric_mtu" ] ||
        die "--clients-mtu: $clients_mtu is more than --fabric-mtu, which is $fabric_mtu"
    local name
    for name in "${encapsulations[@]}"; do
        [ "$tunnels" = agent ] || one_of "--tunnels kernel, --encapsulation" "$name" "${kernel_encapsulations[@]}"
    done
    # A frame must fit in a page, beside the headroom of the kernel and DPDK.
    [ "$driver" = af_packet ] || [ "$fabric_mtu" -le 3430 ] ||
        die "--fabric-mtu: $fabric_mtu is more than af_xdp takes, which is 3430"
}
