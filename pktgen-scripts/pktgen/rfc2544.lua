-- Throughput as in RFC 2544, section 26.1: for each size the highest rate without loss.
--
--   GUIDEWAY_SIZES        bytes on the wire (the sizes of section 9.1)
--   GUIDEWAY_LOSS         the share of packets that may be lost (0)
--   GUIDEWAY_RESOLUTION   resolution of the search, as a share of the rate (0.01)
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

local resolution, accepted = lib.number("RESOLUTION", 0.01), lib.number("LOSS", 0)

lib.begin()
lib.say("throughput: %g s a trial, loss of at most %g%%, load average %.2f", lib.seconds, 100 * accepted, lib.load())
lib.say("%6s %14s %8s %9s  %s", "bytes", "packets/s", "spread", "searches", "limited by")
for size in lib.setting("SIZES", "64 128 256 512 1024 1280 1518"):gmatch("%d+") do
    lib.flows(4, tonumber(size))
    local limits = {}
    local rate, spread, count = lib.repeated(function()
        local found = lib.search(lib.trial, resolution, accepted)
        limits[found.limit] = true
        return found.pps
    end)
    local names = {}
    for name in pairs(limits) do
        names[#names + 1] = name
    end
    table.sort(names)
    lib.say("%6d %14.0f %7.1f%% %9d  %s", size, rate, 100 * spread, count, table.concat(names, ", "))
end
lib.say("load average %.2f", lib.load())
lib.finish()
