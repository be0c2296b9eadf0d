-- Shared by the scripts beside this one: settings, packets, and measurements.
--
-- Settings come from the environment, because Pktgen passes no arguments to a script:
--   GUIDEWAY_MAC       the appliance's port (02:00:00:00:00:01)
--   GUIDEWAY_VIP4, 6   the service's addresses (203.0.113.10, 2001:db8:f::10)
--   GUIDEWAY_PORT      Pktgen's port that sends (0)
--   GUIDEWAY_BACK      Pktgen's port that receives the tunnel packets (the port that sends)
--   GUIDEWAY_RATE      percent of the link (100)
--   GUIDEWAY_SECONDS   of a trial (10); RFC 2544, section 24, wants 60
--   GUIDEWAY_OUT       a file to which the tables are also appended, because they scroll off the screen
--
-- The scripts compare packets, never bytes: a packet returns longer by the tunnel's headers. Rates are measured,
-- never computed from the link's speed, because a virtual device's speed is arbitrary.

local lib = {}

local function setting(name, default)
    local value = os.getenv("GUIDEWAY_" .. name)
    if value == nil or value == "" then
        return default
    end
    return value
end

local function number(name, default)
    local value = setting(name, default)
    return tonumber(value) or error("GUIDEWAY_" .. name .. " is to be a number, not '" .. value .. "'")
end

lib.setting, lib.number = setting, number
lib.port = setting("PORT", "0")
lib.back = setting("BACK", lib.port)
lib.mac = setting("MAC", "02:00:00:00:00:01")
lib.vip4 = setting("VIP4", "203.0.113.10")
lib.vip6 = setting("VIP6", "2001:db8:f::10")
lib.tcp_port = 80
lib.rate = number("RATE", 100)
lib.seconds = number("SECONDS", 10)

-- Pktgen reads the device's counters once a second, so they are correct this long after the last packet.
local SETTLE_MS = 2500
-- A result is repeated until its spread is at most this, but not more often than MOST.
local SPREAD, LEAST, MOST = 0.02, 3, 9

-- Prints a line, and adds it to GUIDEWAY_OUT.
function lib.say(format, ...)
    local line = string.format(format, ...)
    print(line)
    local out = setting("OUT")
    if out then
        local file = assert(io.open(out, "a"))
        file:write(line, "\n")
        file:close()
    end
end

-- The first number in a file.
local function first(path)
    local file = assert(io.open(path))
    local value = file:read("n")
    file:close()
    return value
end

-- The load average of the last minute. On a busy machine the same test reads two or three times slower.
function lib.load()
    return first("/proc/loadavg")
end

-- Seconds, to the hundredth: Lua has no other clock. On a busy machine Pktgen may sleep much longer than requested.
function lib.now()
    return first("/proc/uptime")
end

-- Median of numbers, and their spread: half the interquartile range over the median.
function lib.median(values)
    local sorted = { table.unpack(values) }
    table.sort(sorted)
    local function at(share)
        local place = 1 + share * (#sorted - 1)
        local below = math.floor(place)
        local above = math.min(below + 1, #sorted)
        return sorted[below] + (place - below) * (sorted[above] - sorted[below])
    end
    local middle = at(0.5)
    return middle, middle > 0 and (at(0.75) - at(0.25)) / 2 / middle or 0
end

-- Repeats a measurement until its spread is small. Returns median, spread and the number of repetitions.
function lib.repeated(take)
    local values = {}
    repeat
        values[#values + 1] = take()
        local middle, spread = lib.median(values)
    until #values >= MOST or (#values >= LEAST and spread <= SPREAD)
    local middle, spread = lib.median(values)
    return middle, spread, #values
end

-- Packets that a port sent and received since its counters were cleared. Up to Pktgen 25 portStats has a second
-- argument, and the numbers are in the port's table; since 26 it has only the port, and they are in `curr`.
local function counters(port)
    local ok, stats = pcall(pktgen.portStats, port, "port")
    if not ok then
        stats = pktgen.portStats(port)
    end
    local of_port = stats[tonumber(port)]
    local now = of_port.curr or of_port
    return { sent = now.opackets, received = now.ipackets }
end

-- Sends for some seconds at a percentage of the link, and waits for the packets to return.
function lib.trial(percent)
    pktgen.set(lib.port, "rate", percent)
    pktgen.delay(SETTLE_MS)
    local sent, received = counters(lib.port).sent, counters(lib.back).received
    local began = lib.now()
    pktgen.start(lib.port)
    pktgen.delay(math.floor(lib.seconds * 1000))
    pktgen.stop(lib.port)
    local seconds = lib.now() - began
    pktgen.delay(SETTLE_MS)
    sent, received = counters(lib.port).sent - sent, counters(lib.back).received - received
    return {
        sent = sent,
        received = received,
        pps = sent / seconds,
        back = received / seconds,
        -- The appliance's own packets (ARP, for example) may hide the loss of a packet or two.
        loss = sent > 0 and math.max(0, (sent - received) / sent) or 1,
    }
end

-- RFC 2544, section 26.1: the highest rate at which no more than `accepted` (a share) of the packets is lost,
-- found by halving, to within `resolution` (a share). Returns the trial at that rate; its `limit` names the cause.
--
-- Pktgen's percentage is of a link speed that may be arbitrary. So a slow trial measures how many packets a percent
-- is, a trial at full speed measures the generator's limit, and the search halves packets per second.
function lib.search(trial, resolution, accepted)
    local slow = trial(0.1)
    if slow.sent == 0 then
        error("nothing was sent: is the link up?")
    end
    local of_percent = slow.pps / 0.1
    local top = trial(100)
    if top.loss <= accepted then
        top.limit = "generator"
        return top
    end
    local best = { pps = 0, sent = 0, received = 0, back = 0, loss = 1, limit = "nothing passes" }
    local low, high = 0, top.pps
    if slow.loss <= accepted then
        low, best = slow.pps, slow
    end
    while high - low > resolution * high and high > slow.pps / 10 do
        local target = (low + high) / 2
        local tried = trial(target / of_percent)
        if tried.loss <= accepted then
            low, best = target, tried
        else
            high = target
        end
    end
    best.limit = best.limit or "appliance"
    return best
end

-- Stops traffic and resets all settings, so that each script starts from the same state.
function lib.begin()
    pktgen.screen("off")
    pktgen.stop(lib.port)
    pktgen.reset(lib.port)
    pktgen.clear(lib.port)
    pktgen.set(lib.port, "count", 0)
    pktgen.set(lib.port, "txburst", 32)
end

-- A range of a field: first value, step and last value; then it starts again.
local function range(field, first, step, last)
    local set = pktgen.range[field]
    set(lib.port, "start", first)
    set(lib.port, "inc", step)
    set(lib.port, "min", first)
    set(lib.port, "max", last)
end
lib.range = range

-- TCP segments to the service over IPv4 (4) or IPv6 (6), of `size` bytes on the wire, each of another flow: 250
-- addresses and 60,000 ports. Pktgen builds a packet for each of its buffers and sends these over and over, so a
-- queue has pktgen.info.maxMbufsPerPort flows (24,576 in version 23).
function lib.flows(version, size)
    pktgen.range.set_type(lib.port, version == 6 and "ipv6" or "ipv4")
    pktgen.range.ip_proto(lib.port, "tcp")
    pktgen.range.dst_mac(lib.port, "start", lib.mac)
    if version == 6 then
        range("src_ip", "2001:db8:c::1", "::1", "2001:db8:c::fa")
        range("dst_ip", lib.vip6, "::", lib.vip6)
    else
        range("src_ip", "198.18.0.1", "0.0.0.1", "198.18.0.250")
        range("dst_ip", lib.vip4, "0.0.0.0", lib.vip4)
    end
    range("src_port", 1024, 1, 61023)
    range("dst_port", lib.tcp_port, 0, lib.tcp_port)
    range("pkt_size", size, 0, size)
    pktgen.set_range(lib.port, "on")
end

-- The single packet, which is also the model of the latency probe: one TCP flow.
function lib.single(size)
    pktgen.set_type(lib.port, "ipv4")
    pktgen.set_proto(lib.port, "tcp")
    pktgen.set_mac(lib.port, "dst", lib.mac)
    pktgen.set_ipaddr(lib.port, "src", "198.18.0.1/32")
    pktgen.set_ipaddr(lib.port, "dst", lib.vip4)
    pktgen.set(lib.port, "sport", 1024)
    pktgen.set(lib.port, "dport", lib.tcp_port)
    pktgen.set(lib.port, "size", size)
end

-- Runs a command of Pktgen's command line, for what no function does.
function lib.commands(lines)
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write(table.concat(lines, "\n"), "\n")
    file:close()
    pktgen.run("cmd", name, "") -- the third argument is required, but not used
    os.remove(name)
end

-- Makes the packets of a range plain SYNs. Up to version 23 flags are set and cleared one by one, later all at once.
function lib.syn()
    local port = "range " .. lib.port
    if pktgen.set_tcp_flags then
        lib.commands({ port .. " tcp flags syn" })
    else
        lib.commands({ port .. " tcp flag clr ack", port .. " tcp flag set syn" })
    end
end

-- Sends the packets until the rates repeat, and prints the rates.
function lib.run(title)
    lib.say("%s: %g s a trial, load average %.2f", title, lib.seconds, lib.load())
    lib.say("%12s %14s %14s %9s", "trial", "packets/s sent", "packets/s back", "lost")
    local backs, count = {}, 0
    local sent, spread = lib.repeated(function()
        local trial = lib.trial(lib.rate)
        count = count + 1
        backs[count] = trial.back
        lib.say("%12d %14.0f %14.0f %8.3f%%", count, trial.pps, trial.back, 100 * trial.loss)
        return trial.pps
    end)
    lib.say("%12s %14.0f %14.0f", "median", sent, (lib.median(backs)))
    lib.say("%12s %13.1f%% %13.1f%%; load average %.2f", "spread", 100 * spread,
        100 * select(2, lib.median(backs)), lib.load())
    lib.finish()
end

function lib.finish()
    pktgen.stop(lib.port)
    pktgen.quit()
end

return lib
