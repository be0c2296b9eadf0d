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
    ip -n "$(namespace "$name")" link add "tun-$type" type "$type" "$@" 2>"$dir/tunnel.log" ||
        die "cannot make a tunnel device: this kernel has no $type, perhaps ($(cat "$dir/tunnel.log")); use --tunnels agent"
    ip -n "$(namespace "$name")" link set "tun-$type" up
}

make_tunnels() {
    local name=$1 index
    index=$((${name#s} - 1))
    local v4=(local "$(server_v4 "$name")" remote "$lb4") v6=(local "$(server_v6 "$name")" remote "$lb6")
    case ${encapsulations[$index]} in
        gre)
            make_tunnel "$name" gre "${v4[@]}"
            make_tunnel "$name" ip6gre "${v6[@]}" encaplimit none
            ;;
        ipip)
            make_tunnel "$name" ipip "${v4[@]}"
            make_tunnel "$name" sit "${v4[@]}"
            make_tunnel "$name" ip6tnl "${v6[@]}" mode any encaplimit none
            ;;
        vxlan)
            make_tunnel "$name" vxlan id "$vni" dstport 4789 local "$(server_address "$name")" \
                udp6zerocsumrx nolearning
            ip -n "$(namespace "$name")" link set tun-vxlan address "$vxlan_mac"
            ;;
    esac
    # Both addresses are on lo, and replies leave by the fabric.
    ip -n "$(namespace "$name")" address add "$vip4/32" dev lo
    ip -n "$(namespace "$name")" address add "$vip6/128" dev lo nodad
}
