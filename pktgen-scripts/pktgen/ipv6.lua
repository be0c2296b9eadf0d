-- 78-byte TCP segments (ACKs) of many flows over IPv6, the shortest with IPv6 and TCP.
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

lib.begin()
lib.flows(6, 78)
lib.run("ipv6: 78-byte TCP, many flows")
