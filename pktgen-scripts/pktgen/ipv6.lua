-- TCP segments (ACKs) of many flows over IPv6, 78 bytes: no Ethernet frame with IPv6 and TCP is shorter.
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

lib.begin()
lib.flows(6, 78)
lib.run("ipv6: 78-byte TCP, many flows")
