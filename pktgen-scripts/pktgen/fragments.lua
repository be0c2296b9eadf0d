-- Fragments of UDP datagrams, from a capture, because Pktgen cannot fragment. Start it with the capture:
--
--   pktgen-scripts/capture.py fragments /tmp/fragments.pcap
--   pktgen ... -P -m "[1:2].0" -s 0:/tmp/fragments.pcap -f pktgen-scripts/pktgen/fragments.lua
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

lib.begin()
pktgen.pcap(lib.port, "on")
lib.run("fragments: UDP datagrams in three pieces")
