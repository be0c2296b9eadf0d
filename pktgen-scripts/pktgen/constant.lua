-- 64-byte TCP segments (ACKs) of one flow: one worker forwards all of them, to one backend.
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

lib.begin()
lib.single(64)
lib.run("constant: 64-byte TCP, one flow")
