-- Simple IMIX: of 12 packets 7 have 64 bytes, 4 have 594 and 1 has 1518. TCP, 12 flows, because Pktgen's sequence
-- has only 16 entries. The MTU of the appliance's port must be 1500 bytes and the tunnel's headers.
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

local sizes = { 64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594 }
lib.begin()
-- A burst is a multiple of the sequence, because a virtual device frees buffers at once: then the same buffers are
-- sent again and again.
pktgen.set(lib.port, "txburst", 2 * #sizes)
-- Set by command: up to version 24 pktgen.seq and seqTable confuse the sequence's entry with the port.
local lines = {}
for place, size in ipairs(sizes) do
    lines[place] = string.format("seq %d %s %s 02:00:00:00:00:fe %s 198.18.0.%d/32 %d %d ipv4 tcp 1 %d",
        place - 1, lib.port, lib.mac, lib.vip4, place, 1023 + place, lib.tcp_port, size)
end
lib.commands(lines)
pktgen.set(lib.port, "seq_cnt", #sizes)
lib.run("imix: TCP of 64, 594 and 1518 bytes, 7 to 4 to 1")
