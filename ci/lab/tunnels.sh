# shellcheck shell=bash
# The kernel's own tunnel devices at a server, instead of guideway-agent; ci/lab.sh sources this file. Provides:
#   make_tunnels NAME    makes the devices for the encapsulation of the server NAME; if the kernel lacks one, fails
#                        and names it
# shellcheck disable=SC2154 # lab.sh sets the variables

# The default inner destination of the forwarder's VXLAN.
vxlan_mac=02:47:57:00:00:01

# make_tunnel NAME TYPE ARGUMENT...: makes a device that decapsulates. Without offloads, because packets leave the
# virtual machine or the namespace as they are in memory.
make_tunnel() {
    local name=$1 type=$2
    shift 2
    ip -n "$(namespace "$name")" link add "tun-$type" type "$type" "$@" 2>"$dir/tunnel.log" || no_tunnel "$type"
    ip -n "$(namespace "$name")" link set "tun-$type" up
}

no_tunnel() {
    die "cannot make a tunnel device: this kernel has no $1, perhaps ($(cat "$dir/tunnel.log")); use --tunnels agent"
}

# make_receiver NAME PORT WORD...: takes UDP off at a port, over both families. What was in it then comes to the devices
# of the outer addresses, as if it had come without UDP. The forwarder sends no checksum.
make_receiver() {
    local name=$1 port=$2 family
    shift 2
    modprobe -qa fou fou6 || true # built in, perhaps
    for family in -4 -6; do
        ip -n "$(namespace "$name")" "$family" fou add port "$port" "$@" 2>"$dir/tunnel.log" || no_tunnel fou
    done
}

# pop_labels NAME DEVICE...: takes a label off packets that came by these devices. On lo they are the server's own.
pop_labels() {
    local name=$1 device
    shift
    modprobe -q mpls_router || true # built in, perhaps
    in_namespace "$name" sysctl -qw net.mpls.platform_labels=1100 2>"$dir/tunnel.log" || no_tunnel mpls
    for device in "$@"; do in_namespace "$name" sysctl -qw "net.mpls.conf.$device.input=1"; done
    ip -n "$(namespace "$name")" -f mpls route add 1000 dev lo
}

make_tunnels() {
    local name=$1 index lb=$lb4
    index=$((${name#s} - 1))
    local v4=(local "$(server_v4 "$name")" remote "$lb4") v6=(local "$(server_v6 "$name")" remote "$lb6")
    [[ $(server_address "$name") != *:* ]] || lb=$lb6
    case ${encapsulations[$index]} in
        gre) make_gre ;;
        ipip) make_ipip ;;
        gue | gue0)
            # It reads both versions.
            make_receiver "$name" 6080 gue
            make_ipip
            ;;
        gre-udp)
            make_receiver "$name" 4754 ipproto 47
            make_gre
            ;;
        mpls-gre)
            make_gre
            pop_labels "$name" tun-gre tun-ip6gre
            ;;
        mpls-udp)
            make_receiver "$name" 6635 ipproto 137
            make_tunnel "$name" ipip "${v4[@]}" mode any
            make_tunnel "$name" ip6tnl "${v6[@]}" mode any encaplimit none
            pop_labels "$name" tun-ipip tun-ip6tnl
            ;;
        vxlan)
            make_tunnel "$name" vxlan id "$vni" dstport 4789 local "$(server_address "$name")" \
                udp6zerocsumrx nolearning
            ip -n "$(namespace "$name")" link set tun-vxlan address "$vxlan_mac"
            ;;
        geneve)
            # IP without Ethernet in between, as the forwarder sends it.
            make_tunnel "$name" geneve id "$vni" dstport 6081 remote "$lb" udp6zerocsumrx innerprotoinherit
            ;;
    esac
    # Both addresses are on lo, and replies leave by the fabric.
    ip -n "$(namespace "$name")" address add "$vip4/32" dev lo
    ip -n "$(namespace "$name")" address add "$vip6/128" dev lo nodad
}

# These two take the variables of make_tunnels.
make_gre() {
    make_tunnel "$name" gre "${v4[@]}"
    make_tunnel "$name" ip6gre "${v6[@]}" encaplimit none
}

make_ipip() {
    make_tunnel "$name" ipip "${v4[@]}"
    make_tunnel "$name" sit "${v4[@]}"
    make_tunnel "$name" ip6tnl "${v6[@]}" mode any encaplimit none
}
