# 64-byte UDP packets from 10.254.0.0, port 1000, to 1,024 addresses from 10.253.0.0 on, port 1001, and to the MAC
# address 00:01:02:03:04:01: constants of testpmd. There is a service for each address.
#: --flowgen-flows=1024
set fwd flowgen
set txpkts 64
set burst 32
