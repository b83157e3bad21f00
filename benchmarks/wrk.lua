-- Says at the end, in one line of JSON, what happened. `benchmarks/load.py` reads it.
-- Optional arguments: how many requests in a row go to the first path, then the other path.

local every, other = 0, nil
local counter = 0
local first, second

function init(args)
  every, other = tonumber(args[1]) or 0, args[2]
  if other then
    first, second = wrk.format(), wrk.format(nil, other)
    -- Defined only when wanted: wrk asks Lua for every request then.
    request = function()
      counter = counter + 1
      if counter % every == 0 then return second end
      return first
    end
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nJSON {"requests": %d, "duration_us": %d, "bytes": %d, "p50_us": %d, "p90_us": %d, ' ..
    '"p99_us": %d, "p999_us": %d, "max_us": %d, "connect": %d, "read": %d, "write": %d, ' ..
    '"status": %d, "timeout": %d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50),
    latency:percentile(90), latency:percentile(99), latency:percentile(99.9), latency.max,
    e.connect, e.read, e.write, e.status, e.timeout))
end
