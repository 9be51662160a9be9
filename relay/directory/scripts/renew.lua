-- Renew a lease that has not lapsed. A lapsed one is never renewed: others may have acted on it.
-- KEYS[1]  lease of a node
-- ARGV[1]  incarnation    ARGV[2]  lease in milliseconds    ARGV[3]  milliseconds for which a lapsed lease is kept
-- Result   1 | 2: renewed, but this is another server than the last time | 0: lapsed, forgotten, or another incarnation's
local incarnation, known = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) ?(%S*)')
if incarnation ~= ARGV[1] or redis.call('PTTL', KEYS[1]) <= tonumber(ARGV[3]) then
  return 0
end
local here = server()
if same(known, here) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2] + ARGV[3])
  return 1
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. here .. ' ' .. ARGV[2], 'PX', ARGV[2] + ARGV[3])
return 2
