-- Look a name up. That it isn't there means something only where its partition remembers.
-- KEYS[1]  hash of the partition
-- ARGV[1]  field of the name
-- ARGV[2]  microseconds for which nothing is known of names that a forgotten partition doesn't hold
-- Result   {"found", record} | {"none"} | {"wait"} | {"forgot"}
local record = redis.call('HGET', KEYS[1], ARGV[1])
if record then
  return {'found', record}
end
local epoch = redis.call('HGET', KEYS[1], '@')
if not epoch then
  return {'forgot'}
end
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] - tonumber(epoch) < tonumber(ARGV[2]) then
  return {'wait'}
end
return {'none'}
