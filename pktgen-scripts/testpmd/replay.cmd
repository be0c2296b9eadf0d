# A capture of capture.py, again and again: port 0 is net_pcap, what it reads leaves by port 1, and what comes back
# by that is counted and thrown away. One core does both.
#: --portlist=0,1
set fwd io
set burst 32
