-- Simple IMIX: of 12 packets 7 have 64 bytes, 4 have 594 and 1 has 1518; TCP, each of the 12 a flow of its own,
-- for Pktgen's sequence has 16 places. The appliance's port must take 1500 bytes and the tunnel's headers.
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

local sizes = { 64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594 }
lib.begin()
-- Whole rounds of the sequence in a burst: on a device that frees at once, as virtual ones do, the same buffers
-- are sent again and again.
pktgen.set(lib.port, "txburst", 2 * #sizes)
-- By the command: pktgen.seq and seqTable take the place in the sequence for the port, up to version 24.
local lines = {}
for place, size in ipairs(sizes) do
    lines[place] = string.format("seq %d %s %s 02:00:00:00:00:fe %s 198.18.0.%d/32 %d %d ipv4 tcp 1 %d",
        place - 1, lib.port, lib.mac, lib.vip4, place, 1023 + place, lib.tcp_port, size)
end
lib.commands(lines)
pktgen.set(lib.port, "seq_cnt", #sizes)
lib.run("imix: TCP of 64, 594 and 1518 bytes, 7 to 4 to 1")
