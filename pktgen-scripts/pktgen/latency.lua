-- Latency at 10, 50 and 90 percent of a rate: a probe each millisecond among 64-byte TCP of many flows.
--
--   GUIDEWAY_PPS   the rate in packets per second; by default the script first searches for it as rfc2544.lua does
--
-- Pktgen expects its time stamp at the offset where it wrote it, so packets must return with the same length: the
-- service's encapsulation must be "l2". The probes are UDP packets to port 1028, which needs a service too.
local lib = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "lib.lua")

local PROBE_US, SAMPLES = 1000, 50000

local function percentile(sorted, share)
    return sorted[math.max(1, math.ceil(share * #sorted))] / 1000
end

-- Sorted latencies, in nanoseconds, of the probes of one trial.
local function sample(percent)
    local name = os.tmpname()
    pktgen.latsampler_params(lib.port, "simple", SAMPLES, 1000000, name)
    pktgen.latsampler(lib.port, "on")
    local trial = lib.trial(percent)
    pktgen.latsampler(lib.port, "off")
    local samples = {}
    for line in io.lines(name) do
        samples[#samples + 1] = tonumber(line) -- the first line is a heading
    end
    os.remove(name)
    table.sort(samples)
    return samples, trial
end

lib.begin()
lib.single(64)
lib.flows(4, 64)
local slow = lib.trial(0.1)
assert(slow.sent > 0, "nothing was sent: is the link up?")
local rate = lib.number("PPS", 0)
if rate == 0 then
    rate = lib.search(lib.trial, 0.01, 0).pps
end
pktgen.latency(lib.port, "rate", PROBE_US)
pktgen.latency(lib.port, "on")
lib.say("latency: %g s a trial, 100 %% are %.0f packets/s, load average %.2f", lib.seconds, rate, lib.load())
lib.say("%6s %14s %9s %12s %12s %12s %8s", "load", "packets/s", "probes", "median", "p99", "p99.9", "spread")
for _, share in ipairs({ 0.1, 0.5, 0.9 }) do
    local percent = math.min(100, share * rate / (slow.pps / 0.1))
    local p99, p999, probes, sent = {}, {}, 0, 0
    local median, spread = lib.repeated(function()
        local samples, trial = sample(percent)
        assert(#samples > 0, "no probe came back: see the head of latency.lua")
        probes, sent = probes + #samples, trial.pps
        p99[#p99 + 1], p999[#p999 + 1] = percentile(samples, 0.99), percentile(samples, 0.999)
        return percentile(samples, 0.5)
    end)
    lib.say("%5.0f%% %14.0f %9d %9.1f us %9.1f us %9.1f us %7.1f%%", 100 * share, sent, probes, median,
        (lib.median(p99)), (lib.median(p999)), 100 * spread)
end
lib.say("load average %.2f", lib.load())
pktgen.latency(lib.port, "off")
lib.finish()
