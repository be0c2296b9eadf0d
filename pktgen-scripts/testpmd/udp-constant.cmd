# As udp.cmd, but one flow.
#: --tx-ip=198.18.0.1,198.19.0.10 --tx-udp=1024,53
set fwd txonly
set txpkts 60
set burst 32
set eth-peer 0 02:00:00:00:00:01
