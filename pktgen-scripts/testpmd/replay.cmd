# Replays a capture of capture.py, over and over. Port 0 is net_pcap; its packets leave by port 1. Packets that come
# back by port 1 are counted and dropped. One core does both.
#: --portlist=0,1
set fwd io
set burst 32
