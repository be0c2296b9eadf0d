-- Pktgen's functions as far as the scripts in pktgen-scripts/pktgen use them, without Pktgen: writes down each
-- call, and models a generator, a link and an appliance behind it. As strict as Pktgen is: it has no other
-- functions, and each takes just so many arguments.
--
--   lua5.4 pktgen.lua SCRIPT CALLS
--
-- CALLS gets a line for each call: name and arguments, separated by tabs. By the environment:
--   STUB_VERSION    23 or 26: what portStats takes and gives, how TCP's flags are set
--   STUB_LINK       packets per second of 100 percent
--   STUB_GENERATOR  packets per second that the generator can make at most
--   STUB_CAPACITY   packets per second that come back at most
--   STUB_OVERSLEEP  how many times longer than asked Pktgen sleeps

local script, calls_path = arg[1], arg[2]
local function number(name)
    return tonumber(os.getenv("STUB_" .. name))
end
local version, link, generator = number("VERSION"), number("LINK"), number("GENERATOR")
local capacity, oversleep = number("CAPACITY"), number("OVERSLEEP")

local calls = assert(io.open(calls_path, "w"))
local clock, sending, rate, quit, samples_file = 0, false, 100, false, nil
local sent, received, ready, taken = 0, 0, 0, 0
local told = { opackets = 0, ipackets = 0 } -- as of the last whole second, as Pktgen has them
local SAMPLES = 1000

-- Time passes at hundredths of a second, so that what is counted is told once a second.
local function pass(seconds)
    local steps = math.floor(seconds * 100 + 0.5)
    for _ = 1, steps do
        if sending then
            -- Whole packets: what does not make one yet is kept for the next time.
            ready = ready + math.min(link * rate / 100, generator) / 100
            taken = math.min(taken + capacity / 100, math.max(capacity / 100, 1))
            local now = math.floor(ready)
            local back = math.min(now, math.floor(taken))
            ready, taken = ready - now, taken - back
            sent, received = sent + now, received + back
        end
        clock = clock + 1
        if clock % 100 == 0 then
            told = { opackets = sent, ipackets = received }
        end
    end
end

local function port_stats(...)
    if select("#", ...) ~= (version >= 26 and 1 or 2) then
        error("portStats, wrong number of arguments")
    end
    local stats = { opackets = told.opackets, ipackets = told.ipackets }
    return { n = 1, [0] = version >= 26 and { curr = stats, sizes = {} } or stats }
end

local function run_file(kind, path)
    assert(kind == "cmd", "run takes a command file here")
    for line in io.lines(path) do
        calls:write("command\t", line, "\n")
    end
end

local function sampler(_, state)
    if state == "off" then
        local file = assert(io.open(samples_file, "w"))
        file:write("Latency\n")
        for nanoseconds = SAMPLES, 1, -1 do
            file:write(nanoseconds * 1000, "\n")
        end
        file:close()
    end
end

-- Functions by name: how many arguments, and what it does beyond being written down.
local functions = {
    screen = { 1 }, reset = { 1 }, clear = { 1 }, set_type = { 2 }, set_proto = { 2 }, set_mac = { 3 },
    set_ipaddr = { 3 }, set_range = { 2 }, pcap = { 2 },
    stop = { 1, function() sending = false end },
    start = { 1, function() sending = true end },
    set = { 3, function(_, what, value)
        if what == "rate" then
            rate = tonumber(value)
        end
    end },
    delay = { 1, function(milliseconds) pass(milliseconds * oversleep / 1000) end },
    run = { 3, run_file },
    latsampler_params = { 5, function(_, _, _, _, path) samples_file = path end },
    latsampler = { 2, sampler },
    quit = { 0, function() quit = true end },
}
local ranges = {
    set_type = 2, ip_proto = 2, dst_mac = 3, src_ip = 3, dst_ip = 3, src_port = 3, dst_port = 3, pkt_size = 3,
}

local function noted(name, count, act)
    return function(...)
        if select("#", ...) ~= count then
            error(name .. ", wrong number of arguments")
        end
        local line = { name }
        for place, value in ipairs({ ... }) do
            line[place + 1] = tostring(value)
        end
        calls:write(table.concat(line, "\t"), "\n")
        return act and act(...)
    end
end

local function strict(of)
    return setmetatable(of, {
        __index = function(_, name)
            -- Scripts may ask whether this one is there.
            if name ~= "set_tcp_flags" then
                error("Pktgen has no function " .. name, 2)
            end
        end,
    })
end

pktgen = strict({ portStats = port_stats, range = strict({}) })
for name, what in pairs(functions) do
    pktgen[name] = noted(name, what[1], what[2])
end
for name, count in pairs(ranges) do
    pktgen.range[name] = noted("range." .. name, count)
end
pktgen.latency = function(...)
    local count = select("#", ...)
    return noted("latency", count == 3 and 3 or 2)(...)
end
if version >= 26 then
    pktgen.set_tcp_flags = noted("set_tcp_flags", 2)
end

local open = io.open
io.open = function(path, ...)
    if path == "/proc/uptime" then
        return { read = function() return clock / 100 end, close = function() end }
    end
    return open(path, ...)
end

dofile(script)
calls:close()
assert(quit and not sending, "the script ends without an end of Pktgen")
