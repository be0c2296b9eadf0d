-- 64-byte SYNs of many flows: a SYN for which the appliance's table has no room is a new flow again.
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

lib.begin()
lib.flows(4, 64)
lib.syn()
lib.run("syn: 64-byte SYNs, many flows")
