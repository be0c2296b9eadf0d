-- 64-byte TCP segments (ACKs) of many flows to one service.
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

lib.begin()
lib.flows(4, 64)
lib.run("flows: 64-byte TCP, many flows")
