-- 64-byte TCP segments (ACKs) of one flow: all by one worker, and to one backend.
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

lib.begin()
lib.single(64)
lib.run("constant: 64-byte TCP, one flow")
