# 64-byte UDP packets of many flows, the cheapest to generate. Nothing is received, so the appliance must send to
# another device. With DPDK 22.11 the flows are 256 source addresses: the destination's address, in which the third
# byte must be 0, with each value of that byte. With DPDK 24.11 the flows are 64 source ports.
#: --tx-ip=198.18.0.1,198.19.0.10 --tx-udp=1024,53 --txonly-multi-flow
set fwd txonly
set txpkts 60
set burst 32
set eth-peer 0 02:00:00:00:00:01
