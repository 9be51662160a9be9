-- Own a name that nobody owns, or whose owner is known to be dead.
-- KEYS[1]  hash of the partition
-- ARGV[1]  field of the name           ARGV[2]  owner: "uid/incarnation/session"
-- ARGV[3]  body of the record          ARGV[4]  the fence must be higher than this
-- ARGV[5]  "fence owner" of the record that may be replaced, "" for none
-- ARGV[6]  microseconds for which a partition that was forgotten grants nothing to strangers; 0: this is no stranger
-- ARGV[7]  TTL of the partition in milliseconds
-- Result   {"ok", fence} | {"taken", record} | {"wait", microseconds} | {"forgot"}
--          The fence is the server's time, or well above the highest one if that clock is behind: a session that has moved
--          on unheard may put itself back many times (`save`), and must stay below the one that it became.
local now = now_us()
local epoch, here = epoch_of(KEYS[1], now)
if not epoch then
  begin(KEYS[1], now, here, ARGV[7])
  return {'forgot'}
end
local floor = tonumber(ARGV[4])
local record = redis.call('HGET', KEYS[1], ARGV[1])
if record then
  local fence, owner = string.match(record, '^(%d+) (%S+)')
  if owner == ARGV[2] then
    return {'ok', fence}
  end
  if fence .. ' ' .. owner ~= ARGV[5] then
    return {'taken', record}
  end
  floor = math.max(floor, tonumber(fence))
end
if now - epoch < tonumber(ARGV[6]) then
  return {'wait', string.format('%.0f', epoch + tonumber(ARGV[6]) - now)}
end
local fence = string.format('%.0f', math.max(now, floor + 1024))
redis.call('HSET', KEYS[1], ARGV[1], fence .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return {'ok', fence}
