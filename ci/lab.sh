#!/usr/bin/env bash
# The lab: clients, the forwarder and three web servers in network namespaces on one machine, without NIC and
# hugepages. Tests and `make run` use it, and people may.
#
#   ci/lab.sh up   [--dir D] [--bin B] [--workers "0 1"] [--no-forwarder] [--encapsulation E] [--fabric-mtu M]
#                [--clients-mtu C] [--driver N | --device D --uplink I] [--steering S] [--idle W] [--hugepages] [--tunnels T]
#   ci/lab.sh exec [--dir D] NAMESPACE COMMAND...     NAMESPACE: clients, lb, s1, s2, s3 or fabric
#   ci/lab.sh ready [--dir D] [--bin B]
#   ci/lab.sh down [--dir D]
#
# --dir D             directory of configuration, logs and D/lab.env, which has names and paths as KEY=VALUE; each
#                     lab needs its own (default /run/guideway-lab)
# --bin B             directory of the programs (default target/release)
# --no-forwarder      does not start the forwarder; run `guideway run --config D/guideway.toml` in the namespace lb, then
#                     `ci/lab.sh ready`, which waits until the forwarder knows the servers
# --encapsulation E   how packets travel to the servers, by its name in the configuration (default gre): one name,
#                     or one for each of s1, s2 and s3 separated by commas, or mix, which is gue,vxlan,l2
# --fabric-mtu M      MTU for encapsulated packets (default 1600); with 1500 clients must learn the path MTU
# --clients-mtu C     MTU of the clients (default 1500)
# --driver N          the forwarder's driver for its veth: af_packet, or af_xdp, for which the kernel does not
#                     reassemble IPv4 fragments
# --device D          a real device instead of the veth: a PCI address, bound to a driver for DPDK
# --uplink I          the kernel's interface at the other end of that device's cable; joins the bridge until `down`
# --steering S        the port's steering: auto, queues or ring; with queues and af_packet the kernel spreads flows
#                     over a queue for each worker, by its own hash
# --idle W            what workers do without packets: poll, pause or interrupt
# --tunnels T         what decapsulates at the servers: agent, or kernel (its own devices, for all encapsulations but l2)
#
#   clients  c0   198.51.100.1-8/24  2001:db8:c::1-8/64  ──┐ mtu C
#   lb       lb0  (DPDK's; the forwarder's port edge0)   ──┤ mtu M, as the servers'
#   s1..s3   s0   192.0.2.11-13/24  2001:db8:1::11-13/64 ──┴─ bridge in fabric
#
# The forwarder's interface edge0, in the namespace lb, has 192.0.2.1 and 2001:db8:1::1. No neighbour is configured:
# clients and servers ask for those addresses, and the kernel of lb asks for the servers'. The servers hold the virtual
# addresses 203.0.113.10 and 2001:db8:f::10 on lo, decapsulate, and reply to the clients directly. Needs root; uses sudo
# if run as another user.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=/usr/bin/python3 # Debian's, even if PATH has another first
# shellcheck source=ci/lab/options.sh
. "$root/ci/lab/options.sh"
# shellcheck source=ci/lab/tunnels.sh
. "$root/ci/lab/tunnels.sh"

vip4=203.0.113.10
vip6=2001:db8:f::10
lb4=192.0.2.1
lb6=2001:db8:1::1
lb_mac=02:00:00:00:00:01
servers="s1 s2 s3"
echo_port=5300
vni=5000

usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 2
}

server_mac() { printf '02:00:00:00:00:1%s' "${1#s}"; }
server_v4() { printf '192.0.2.1%s' "${1#s}"; }
server_v6() { printf '2001:db8:1::1%s' "${1#s}"; }
# The address that packets to a server are tunnelled to: IPv6 for s2, so that all mixes of families occur.
server_address() { if [ "$1" = s2 ]; then server_v6 s2; else server_v4 "$1"; fi; }
read_prefix() {
    [ -e "$dir/prefix" ] || die "no lab is up in $dir"
    prefix=$(cat "$dir/prefix")
}
namespace() { printf '%s-%s' "$prefix" "$1"; }
in_namespace() {
    local name=$1
    shift
    ip netns exec "$(namespace "$name")" "$@"
}

# make_namespace NAME: empty, with lo up. Some sysctls of `all` override an interface's own value.
make_namespace() {
    ip netns add "$(namespace "$1")"
    ip -n "$(namespace "$1")" link set lo up
    in_namespace "$1" sh -c '
        cd /proc/sys/net
        echo 0 | tee ipv4/conf/all/rp_filter ipv4/conf/default/rp_filter \
            ipv6/conf/all/accept_dad ipv6/conf/default/accept_dad \
            ipv6/conf/all/accept_ra ipv6/conf/default/accept_ra >/dev/null'
}

# plug NAME INTERFACE MAC MTU: a cable from NAME to the bridge. Without offloads, because DPDK's af_packet gets
# frames as they are in memory, where checksums would still be missing.
plug() {
    local name=$1 interface=$2 mac=$3 mtu=$4
    ip -n "$(namespace fabric)" link add "to-$name" mtu "$fabric_mtu" type veth \
        peer name "$interface" mtu "$mtu" address "$mac" netns "$(namespace "$name")"
    ip -n "$(namespace fabric)" link set "to-$name" master bridge up
    ip -n "$(namespace "$name")" link set "$interface" up
    no_offloads fabric "to-$name"
    no_offloads "$name" "$interface"
}

no_offloads() {
    in_namespace "$1" ethtool -K "$2" rx off tx off sg off tso off gso off gro off \
        >"$dir/ethtool.log" 2>&1 ||
        die "cannot turn off the offloads of $2: $(cat "$dir/ethtool.log")"
}

# plug_forwarder: DPDK's cable. The kernel sees its frames too and must not reply: it answers on edge0 what the
# forwarder gives it there. So lb0 has no address, no ARP and no IPv6, and drops packets whose answer would take another
# interface, which is all of them.
plug_forwarder() {
    local net=/proc/sys/net
    in_namespace lb sh -c "echo 1 >$net/ipv6/conf/default/disable_ipv6; echo 1 >$net/ipv4/conf/default/rp_filter"
    plug lb lb0 "$lb_mac" "$fabric_mtu"
    ip -n "$(namespace lb)" link set lb0 arp off
    in_namespace lb sh -c "echo 0 >$net/ipv6/conf/default/disable_ipv6; echo 0 >$net/ipv4/conf/default/rp_filter"
}

build_fabric() {
    local number
    make_namespace fabric
    ip -n "$(namespace fabric)" link add bridge mtu "$fabric_mtu" type bridge stp_state 0 mcast_snooping 0
    ip -n "$(namespace fabric)" link set bridge up

    make_namespace lb
    if [ -n "$uplink" ]; then
        ip link set "$uplink" netns "$(namespace fabric)"
        ip -n "$(namespace fabric)" link set "$uplink" mtu "$fabric_mtu" master bridge up
        no_offloads fabric "$uplink"
    else
        plug_forwarder
    fi

    make_namespace clients
    plug clients c0 02:00:00:00:00:c0 "$clients_mtu"
    local clients
    clients=$(namespace clients)
    for number in 1 2 3 4 5 6 7 8; do
        ip -n "$clients" address add "198.51.100.$number/24" dev c0
        ip -n "$clients" address add "2001:db8:c::$number/64" dev c0 nodad
    done
    ip -n "$clients" route add "$vip4/32" via "$lb4" dev c0 onlink
    ip -n "$clients" route add "$lb4/32" dev c0
    ip -n "$clients" route add "$lb6/128" dev c0
    ip -n "$clients" route add "$vip6/128" via "$lb6" dev c0
}

build_server() {
    local name=$1 server
    server=$(namespace "$name")
    make_namespace "$name"
    plug "$name" s0 "$(server_mac "$name")" "$fabric_mtu"
    # ARP must not announce the virtual address.
    in_namespace "$name" sh -c '
        echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
        echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce'
    ip -n "$server" address add "$(server_v4 "$name")/24" dev s0
    ip -n "$server" address add "$(server_v6 "$name")/64" dev s0 nodad
    # Direct return to the clients, with their MTU.
    ip -n "$server" route add 198.51.100.0/24 dev s0 mtu "$clients_mtu"
    ip -n "$server" route add 2001:db8:c::/64 dev s0 mtu "$clients_mtu"
}

# spawn NAME NAMESPACE COMMAND...: starts COMMAND detached from this terminal. D/NAME.pid has its process id and
# start time, D/NAME.log its output, D/NAME.exit later its exit status.
spawn() {
    local name=$1 of=$2
    shift 2
    # shellcheck disable=SC2016 # expanded by the inner shell
    setsid ip netns exec "$(namespace "$of")" bash -c '
        base=$1; shift
        "$@" & pid=$!
        echo "$pid $(cut -d " " -f 22 "/proc/$pid/stat")" >"$base.pid.new"
        mv "$base.pid.new" "$base.pid"
        wait "$pid"; echo $? >"$base.exit.new"
        mv "$base.exit.new" "$base.exit"' \
        bash "$dir/$name" "$@" </dev/null >"$dir/$name.log" 2>&1 &
    await "$name" test -e "$dir/$name.pid"
}

# running NAME: succeeds if the process that was started runs.
running() {
    local pid start
    [ -e "$dir/$1.pid" ] && [ ! -e "$dir/$1.exit" ] || return 1
    read -r pid start <"$dir/$1.pid"
    [ "$(cut -d ' ' -f 22 "/proc/$pid/stat" 2>/dev/null)" = "$start" ]
}

# await NAME COMMAND...: waits until COMMAND succeeds, at most 20 s, and only while the process NAME runs.
await() {
    local name=$1 attempt
    shift
    for attempt in $(seq 200); do
        if "$@" >/dev/null 2>&1; then return; fi
        if [ -e "$dir/$name.exit" ]; then break; fi
        sleep 0.1
    done
    [ ! -e "$dir/$name.log" ] || tail -n 20 "$dir/$name.log" >&2
    die "$name did not start (attempt $attempt: $*)"
}

start_server() {
    local name=$1
    mkdir -p "$dir/$name.nginx"
    cat >"$dir/$name.nginx/nginx.conf" <<END
daemon off;
# D may be accessible to root only, and uploads are stored there.
user root;
pid $dir/$name.nginx/nginx.pid;
error_log $dir/$name.nginx/error.log;
worker_processes 1;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path $dir/$name.nginx/body;
    proxy_temp_path $dir/$name.nginx/proxy;
    fastcgi_temp_path $dir/$name.nginx/fastcgi;
    uwsgi_temp_path $dir/$name.nginx/uwsgi;
    scgi_temp_path $dir/$name.nginx/scgi;
    default_type text/plain;
    server {
        listen 80 backlog=4096;
        listen [::]:80 backlog=4096;
        location / { return 200 "$name\n"; }
        # nginx forwards a request to another server only after it has the whole body.
        location /upload {
            client_max_body_size 0;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Received \$content_length;
            proxy_pass http://unix:$dir/$name.nginx/received.sock;
        }
    }
    server {
        listen unix:$dir/$name.nginx/received.sock;
        location / { return 200 "$name \$http_received\n"; }
    }
}
END
    if [ "$tunnels" = kernel ]; then
        make_tunnels "$name"
    else
        spawn "$name.agent" "$name" "$bin/guideway-agent" --vip "$vip4" --vip "$vip6" \
            --peer "$lb4" --peer "$lb6"
        await "$name.agent" grep -q '^ready' "$dir/$name.agent.log"
    fi
    spawn "$name.web" "$name" nginx -e "$dir/$name.nginx/error.log" -p "$dir/$name.nginx" \
        -c "$dir/$name.nginx/nginx.conf"
    await "$name.web" test -s "$dir/$name.nginx/nginx.pid"
    spawn "$name.echo" "$name" "$python" "$root/ci/lab/echo.py" "$name" "$echo_port" "$vip4" "$vip6"
    await "$name.echo" grep -q '^ready' "$dir/$name.echo.log"
}

# encapsulation_keys NAME: a pool's keys for this encapsulation, one a line. `guideway check` names a key that
# is missing here.
encapsulation_keys() {
    printf 'encapsulation = "%s"\n' "$1"
    case $1 in
        vxlan | geneve) printf 'vni = %s\n' "$vni" ;;
        mpls-udp | mpls-gre) printf 'label = 1000\n' ;;
    esac
}

# override INDEX: those keys for a backend, if its encapsulation differs from the pool's.
override() {
    local key
    [ "${encapsulations[$1]}" != "${encapsulations[0]}" ] || return 0
    encapsulation_keys "${encapsulations[$1]}" | while read -r key; do printf ', %s' "$key"; done
}

device() {
    if [ -n "$device" ]; then
        printf '%s' "$device"
        return
    fi
    case $driver in
        af_packet)
            printf 'net_af_packet0,iface=lb0,blocksz=4096,framesz=2048,framecnt=2048'
            [ "$steering" != queues ] || printf ',qpairs=%s' "$(wc -w <<<"$workers")"
            ;;
        af_xdp) printf 'net_af_xdp0,iface=lb0' ;;
    esac
}

write_configuration() {
    cat >"$dir/guideway.toml" <<END
[node]
name = "lab"
tunnel_source = ["$lb4", "$lb6"]

[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = 65537

[dpdk]
workers = [${workers// /, }]
hugepages = $hugepages
# Clients and servers share the CPUs with the workers.
idle = "$idle"

[control]
socket = "$dir/guideway.sock"
state_directory = "$dir/state"

[metrics]
listen = ["127.0.0.1:9420"]

[[port]]
name = "edge0"
device = "$(device)"
# The name lb0 is that of the device behind the port.
steering = "$steering"
addresses = ["$lb4/24", "$lb6/64"]
mtu = $fabric_mtu
mac = "$lb_mac"

[[pool]]
name = "web"
$(encapsulation_keys "${encapsulations[0]}")
backends = [
    { name = "s1", address = "$(server_address s1)", weight = 1 },
    { name = "s2", address = "$(server_address s2)", weight = 1$(override 1) },
    { name = "s3", address = "$(server_address s3)", weight = 2$(override 2) },
]
END
    local service
    for service in "web4 $vip4 tcp 80" "web6 $vip6 tcp 80" \
        "echo4 $vip4 udp $echo_port" "echo6 $vip6 udp $echo_port"; do
        # shellcheck disable=SC2086 # four words
        printf '\n[[service]]\nname = "%s"\naddress = "%s"\nprotocol = "%s"\nport = %s\npool = "web"\nunreachable = true\n' \
            $service >>"$dir/guideway.toml"
    done
}

# ready: what remains once the forwarder runs, and with it the interface edge0.
ready() {
    await guideway "$bin/guidewayctl" --socket "$dir/guideway.sock" status
    # The node replies to clients itself, for example to a ping of its own address.
    ip -n "$(namespace lb)" route replace 198.51.100.0/24 dev edge0
    ip -n "$(namespace lb)" route replace 2001:db8:c::/64 dev edge0
    await guideway knows_the_servers
}

# knows_the_servers: succeeds once the kernel has told the forwarder the servers' MAC addresses.
knows_the_servers() {
    local list
    list=$("$bin/guidewayctl" --socket "$dir/guideway.sock" --output json backend list) &&
        ! grep -qE '"(unresolved|unreachable)"' <<<"$list"
}

write_environment() {
    local name
    {
        printf 'LAB_%s=%q\n' DIR "$dir" PREFIX "$prefix" CONFIG "$dir/guideway.toml" \
            SOCKET "$dir/guideway.sock" GUIDEWAY "$bin/guideway" GUIDEWAYCTL "$bin/guidewayctl" \
            AGENT "$bin/guideway-agent" VIP4 "$vip4" VIP6 "$vip6" ECHO_PORT "$echo_port" \
            LB4 "$lb4" LB6 "$lb6" LB_MAC "$lb_mac" LB_INTERFACE edge0 FABRIC_MTU "$fabric_mtu" \
            ENCAPSULATION "${encapsulations[*]}"
        for name in fabric lb clients $servers; do
            printf 'LAB_NS_%s=%q\n' "${name^^}" "$(namespace "$name")"
        done
        for name in $servers; do
            printf 'LAB_%s_%s=%q\n' "${name^^}" V4 "$(server_v4 "$name")" \
                "${name^^}" V6 "$(server_v6 "$name")" "${name^^}" MAC "$(server_mac "$name")"
        done
    } >"$dir/lab.env.new"
    mv "$dir/lab.env.new" "$dir/lab.env"
}

# On a small machine one worker leaves a CPU to clients and servers; two workers show the steering.
choose_workers() {
    $python -c 'import os
cpus = sorted(os.sched_getaffinity(0))
print(*cpus[-2:] if len(cpus) >= 4 else cpus[-1:])'
}

up() {
    local command name needed=
    [ "$tunnels" = kernel ] || needed=guideway-agent
    [ ! -e "$dir/prefix" ] || die "a lab is up in $dir already; take it down with: $0 down --dir $dir"
    [ "$forwarder" = no ] || needed+=" guideway guidewayctl"
    for command in ip ethtool nginx setsid "$python"; do
        command -v "$command" >/dev/null || die "$command is missing; ci/install.sh installs it"
    done
    for command in $needed; do
        [ -x "$bin/$command" ] || die "$bin/$command is missing; build it with: make build"
    done
    [ "$tunnels" = kernel ] || [ -c /dev/net/tun ] ||
        die "/dev/net/tun is missing; try: modprobe tun (in a container: --device /dev/net/tun)"
    workers=${workers:-$(choose_workers)}
    # The directory is removed afterwards, so it must be empty.
    [ -z "$(ls -A "$dir" 2>/dev/null)" ] || die "$dir is not empty"
    mkdir -p "$dir"
    prefix=gw-$$
    while [ -e "/run/netns/$(namespace fabric)" ]; do prefix=gw-$RANDOM; done
    echo "$prefix" >"$dir/prefix"
    trap 'down >/dev/null 2>&1 || true' EXIT
    build_fabric
    for name in $servers; do build_server "$name"; done
    for name in $servers; do start_server "$name"; done
    write_configuration
    write_environment
    if [ "$forwarder" = yes ]; then
        spawn guideway lb "$bin/guideway" run --config "$dir/guideway.toml"
        ready
    fi
    trap - EXIT
}

# stop PATTERN: ends processes that spawn started, by their ids. Reports those that did not end well.
stop() {
    local file name pid status=0 attempt
    for file in "$dir"/$1.pid; do
        [ -e "$file" ] || continue
        name=$(basename "$file" .pid)
        if running "$name"; then
            read -r pid _ <"$file"
            kill -TERM "$pid"
            for attempt in $(seq 100); do
                running "$name" || break
                sleep 0.1
            done
            if running "$name"; then
                printf 'lab: %s ignored SIGTERM for %s s; killed\n' "$name" "$((attempt / 10))" >&2
                kill -KILL "$pid"
            fi
        fi
        # On a busy machine the shell that writes the status may come late.
        for attempt in $(seq 100); do
            [ ! -e "$dir/$name.exit" ] || break
            sleep 0.1
        done
        if [ "$(cat "$dir/$name.exit" 2>/dev/null)" != 0 ]; then
            printf 'lab: %s ended with status %s; its last lines:\n' "$name" \
                "$(cat "$dir/$name.exit" 2>/dev/null || echo unknown)" >&2
            tail -n 10 "$dir/$name.log" >&2
            status=1
        fi
    done
    return "$status"
}

down() {
    local name status=0
    read_prefix
    stop guideway || status=1
    stop '*.echo' || status=1
    stop '*.web' || status=1
    stop '*.agent' || status=1
    for name in $servers clients lb fabric; do
        ip netns delete "$(namespace "$name")" 2>/dev/null || true
    done
    rm -rf "$dir"
    return "$status"
}

arguments=("$@")
action=${1:-}
case $action in up | exec | ready | down) shift ;; *) usage ;; esac
read_options "$@"
case $action in
    up | ready | down) [ ${#rest[@]} = 0 ] || usage ;;
    exec)
        [ ${#rest[@]} -ge 2 ] || usage
        # shellcheck disable=SC2086 # three words
        one_of exec "${rest[0]}" clients lb $servers fabric
        ;;
esac
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "network namespaces need root, and there is no sudo"
    exec sudo "${BASH_SOURCE[0]}" "${arguments[@]}"
fi
case $action in
    up) up ;;
    down) down ;;
    ready)
        read_prefix
        ready
        ;;
    exec)
        read_prefix
        exec ip netns exec "$(namespace "${rest[0]}")" "${rest[@]:1}"
        ;;
esac
