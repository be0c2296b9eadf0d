-- SYNs only, each from a random source address and port: a flood.
-- Backs: packets per second of new flows, and that established flows live through a flood.
--
--   pktgen -l 0-2 -n 4 -- -P -m "[1:2].0" -f pktgen-scripts/tcp-syn.lua
--
-- GUIDEWAY_MAC is the address of the appliance's port. Random sources exist in Pktgen's single packet mode
-- only, and are drawn when it fills its packet buffers: there are as many flows as buffers.

local port = "0"
local mac = os.getenv("GUIDEWAY_MAC") or "02:00:00:00:00:01"

pktgen.stop(port)
pktgen.clear(port)
pktgen.set_range(port, "off")

pktgen.set_type(port, "ipv4")
pktgen.set_proto(port, "tcp")
pktgen.set_tcp_flags(port, "syn")
pktgen.set_mac(port, "dst", mac)
pktgen.set_ipaddr(port, "src", "198.18.0.1/16")
pktgen.set_ipaddr(port, "dst", "203.0.113.10")
pktgen.set(port, "dport", 80)
pktgen.set(port, "size", 64)
pktgen.rnd_s_ip(port, "on")
pktgen.rnd_s_pt(port, "on")

pktgen.set(port, "rate", 100)
pktgen.set(port, "count", 0)
pktgen.start(port)
