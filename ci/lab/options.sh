# shellcheck shell=bash
# The options of ci/lab.sh, which sources this: each is checked before anyone is asked for a password and
# before anything is built. Provides:
#   read_options OPTION...          sets dir, bin, workers, forwarder, fabric_mtu, driver, steering and
#                                   encapsulations; `rest` is the words after the options
#   one_of OPTION VALUE NAME...     fails unless VALUE is one of the names
# shellcheck disable=SC2034 # lab.sh uses what is set here

dir=/run/guideway-lab
bin=$root/target/release
workers=
forwarder=yes
fabric_mtu=1600
driver=af_packet
steering=auto
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
    # It is part of nginx's configuration, of TOML strings and of paths of sockets, which have 107 bytes.
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

read_fabric_mtu() {
    [[ $1 =~ ^[1-9][0-9]{3}$ && $1 -ge 1500 && $1 -le 9216 ]] ||
        die "--fabric-mtu: '$1' is no number from 1500, the clients' MTU, to 9216"
    fabric_mtu=$1
}

# read_encapsulation E: one name for each server, in the array `encapsulations`.
read_encapsulation() {
    local name
    [ "$1" != mix ] || set -- gue,vxlan,l2
    IFS=, read -r -a encapsulations <<<"$1"
    [ ${#encapsulations[@]} != 1 ] || encapsulations=("$1" "$1" "$1")
    [ ${#encapsulations[@]} = 3 ] || die "--encapsulation $1: give one name, three, or mix"
    for name in "${encapsulations[@]}"; do
        one_of --encapsulation "$name" gre ipip gue gue0 gre-udp vxlan mpls-udp mpls-gre l2
    done
}

read_options() {
    local option value
    while [ $# -gt 0 ]; do
        option=$1 value=${2:-}
        case $option in
            --no-forwarder)
                forwarder=no
                shift
                continue
                ;;
            --dir | --bin | --workers | --encapsulation | --fabric-mtu | --driver | --steering) ;;
            -*) die "unknown option '$option'; see $0" ;;
            *) break ;;
        esac
        [[ -n $value && $value != --* ]] || die "$option needs a value; see $0"
        case $option in
            --dir) read_dir "$value" ;;
            --bin) bin=$value ;;
            --workers) read_workers "$value" ;;
            --encapsulation) read_encapsulation "$value" ;;
            --fabric-mtu) read_fabric_mtu "$value" ;;
            --driver) one_of "$option" "$value" af_packet af_xdp && driver=$value ;;
            --steering) one_of "$option" "$value" auto queues ring && steering=$value ;;
        esac
        shift 2
    done
    rest=("$@")
    # A frame has to fit a page, beside what the kernel and DPDK keep there.
    [ "$driver" = af_packet ] || [ "$fabric_mtu" -le 3430 ] ||
        die "--fabric-mtu: $fabric_mtu is more than af_xdp takes, which is 3430"
}
