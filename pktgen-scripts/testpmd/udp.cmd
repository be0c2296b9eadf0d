# 64-byte UDP packets of 256 flows, made in place: the cheapest there are. Nothing is received, so that what the
# appliance sends must go elsewhere. The flows are source addresses: the destination's third byte, which must be
# 0 for that, and fourth are theirs as well.
#: --tx-ip=198.18.0.1,198.19.0.10 --tx-udp=1024,53 --txonly-multi-flow
set fwd txonly
set txpkts 60
set burst 32
set eth-peer 0 02:00:00:00:00:01
