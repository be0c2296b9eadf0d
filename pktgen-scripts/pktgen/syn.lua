-- 64-byte SYNs of many flows: each that the appliance's table has no room for is a new flow again.
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

lib.begin()
lib.flows(4, 64)
lib.syn()
lib.run("syn: 64-byte SYNs, many flows")
