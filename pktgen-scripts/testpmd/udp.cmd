# 64-byte UDP packets of many flows, made in place: the cheapest there are. Nothing is received, so that what the
# appliance sends must go elsewhere. With DPDK 22.11 the flows are 256 source addresses: the destination's third
# byte, which must be 0 for that, and fourth are theirs as well. With 24.11 they are 64 source ports.
#: --tx-ip=198.18.0.1,198.19.0.10 --tx-udp=1024,53 --txonly-multi-flow
set fwd txonly
set txpkts 60
set burst 32
set eth-peer 0 02:00:00:00:00:01
