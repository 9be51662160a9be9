-- Look at the lease of a node.
-- KEYS[1]  lease of a node
-- Result   {1: its TTL in milliseconds; -2: forgotten, or last renewed on another server, which tells nothing of now,
--          2: how long the node asks for at a time, in milliseconds; 0: it doesn't say,
--          3: the server's time in microseconds}
local known, length = string.match(redis.call('GET', KEYS[1]) or '', '^%d+ ?(%S*) ?(%d*)')
local now = string.format('%.0f', now_us())
if not known or not same(known, server()) then
  return {-2, 0, now}
end
return {redis.call('PTTL', KEYS[1]), tonumber(length) or 0, now}
