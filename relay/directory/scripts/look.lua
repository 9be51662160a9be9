-- Look at the lease of a node.
-- KEYS[1]  lease of a node
-- Result   its TTL in milliseconds | -2: forgotten, or last renewed on another server, which tells nothing of now
local known = string.match(redis.call('GET', KEYS[1]) or '', '^%d+ ?(%S*)')
if not known or not same(known, server()) then
  return -2
end
return redis.call('PTTL', KEYS[1])
