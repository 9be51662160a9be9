-- Renew a lease that has not lapsed. A lapsed one is never renewed: others may have acted on it.
-- KEYS[1]  lease of a node
-- ARGV[1]  incarnation    ARGV[2]  lease in milliseconds    ARGV[3]  milliseconds for which a lapsed lease is kept
-- Result   1 | 0: lapsed, forgotten, or another incarnation's
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if redis.call('PTTL', KEYS[1]) <= tonumber(ARGV[3]) then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2] + ARGV[3])
