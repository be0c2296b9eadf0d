-- 64-byte TCP segments of many flows: 250 source addresses, 60,000 source ports, one service.
-- Backs: packets per second of established flows.
--
--   pktgen -l 0-2 -n 4 -- -P -m "[1:2].0" -f pktgen-scripts/tcp-flows.lua
--
-- GUIDEWAY_MAC is the address of the appliance's port.

local port = "0"
local mac = os.getenv("GUIDEWAY_MAC") or "02:00:00:00:00:01"
local service = { address = "203.0.113.10", port = 80 }

pktgen.stop(port)
pktgen.clear(port)

pktgen.range.ip_proto(port, "tcp")
pktgen.range.dst_mac(port, "start", mac)

-- A range: its first value, the step, and the values between which it goes round.
local function range(set, first, step, last)
    set(port, "start", first)
    set(port, "inc", step)
    set(port, "min", first)
    set(port, "max", last)
end

range(pktgen.range.src_ip, "198.18.0.1", "0.0.0.1", "198.18.0.250")
range(pktgen.range.src_port, 1024, 1, 61023)
range(pktgen.range.dst_ip, service.address, "0.0.0.0", service.address)
range(pktgen.range.dst_port, service.port, 0, service.port)
range(pktgen.range.pkt_size, 64, 0, 64)
pktgen.set_range(port, "on")

pktgen.set(port, "rate", 100)
pktgen.set(port, "count", 0)
pktgen.start(port)
