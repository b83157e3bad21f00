-- Says at the end, in one line of JSON, what happened. `benchmarks/load.py` reads it.
-- Optional arguments: paths that are asked in turn.

local requests = {}
local counter = 0

function init(args)
  if #args > 0 then
    for i, path in ipairs(args) do requests[i] = wrk.format(nil, path) end
    -- Defined only when wanted: wrk asks Lua for every request then.
    request = function()
      counter = counter % #requests + 1
      return requests[counter]
    end
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nJSON {"requests": %d, "duration_us": %d, "bytes": %d, "p50_us": %d, "p90_us": %d, ' ..
    '"p99_us": %d, "p999_us": %d, "max_us": %d, "connect": %d, "read": %d, "write": %d, ' ..
    '"status": %d, "timeout": %d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50),
    latency:percentile(90), latency:percentile(99), latency:percentile(99.9), latency.max,
    e.connect, e.read, e.write, e.status, e.timeout))
end
