-- Renew a lease that has not lapsed. A lapsed one is never renewed: others may have acted on it.
-- KEYS[1]  lease of a node
-- ARGV[1]  incarnation    ARGV[2]  lease in milliseconds    ARGV[3]  milliseconds for which a lapsed lease is kept
-- Result   {1 | 2: renewed, but this is another server than the last time | 0: lapsed, forgotten, or another
--          incarnation's, why the server takes no new data, if it doesn't}
local value = redis.call('GET', KEYS[1]) or ''
local incarnation, known = string.match(value, '^(%d+) ?(%S*)')
if incarnation ~= ARGV[1] or redis.call('PTTL', KEYS[1]) <= tonumber(ARGV[3]) then
  return {0}
end
local here = server()
local result = 1
if not same(known, here) then
  value = ARGV[1] .. ' ' .. here .. ' ' .. ARGV[2]
  result = 2
end
-- The whole value, as a claim writes a whole record: a server whose memory is full refuses that, and lets leases go on.
local written = redis.pcall('SET', KEYS[1], value, 'PX', ARGV[2] + ARGV[3])
if not written.err then
  return {result}
end
redis.call('PEXPIRE', KEYS[1], ARGV[2] + ARGV[3])
return {result, written.err}
