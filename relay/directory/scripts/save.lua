-- Write the record of a name that this session owns; put it back where it was forgotten.
-- KEYS[1]  hash of the partition
-- ARGV[1]  field of the name           ARGV[2]  uid of the node
-- ARGV[3]  incarnation of its lease    ARGV[4]  session
-- ARGV[5]  body of the record          ARGV[6]  the fence known so far
-- ARGV[7]  TTL of the partition in milliseconds
-- Result   {"ok", fence} | {"forgot", fence}: written, but the partition was gone | {"lost"}: another owns it.
--          The fence rises when the incarnation is a new one.
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local owner = ARGV[2] .. '/' .. ARGV[3] .. '/' .. ARGV[4]
local fence = ARGV[6]
local result = 'ok'
local record = redis.call('HGET', KEYS[1], ARGV[1])
if record then
  local f, uid, incarnation, session = string.match(record, '^(%d+) ([^/ ]+)/([^/ ]+)/(%S+)')
  if uid ~= ARGV[2] or session ~= ARGV[4] then
    return {'lost'}
  end
  if incarnation ~= ARGV[3] then
    fence = string.format('%.0f', math.max(now, tonumber(f) + 1, tonumber(fence) + 1))
  end
else
  fence = string.format('%.0f', math.max(now, tonumber(fence) + 1))
  if redis.call('HSETNX', KEYS[1], '@', string.format('%.0f', now)) == 1 then
    result = 'forgot'
  end
end
redis.call('HSET', KEYS[1], ARGV[1], fence .. ' ' .. owner .. ' ' .. ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return {result, fence}
