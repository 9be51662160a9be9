-- Look a name up. What is there, or isn't, means something only where its partition remembers.
-- KEYS[1]  hash of the partition
-- ARGV[1]  field of the name
-- ARGV[2]  microseconds for which nothing is known of names that a forgotten partition doesn't hold
-- ARGV[3]  TTL of the partition in milliseconds
-- Result   {"found", record} | {"none"} | {"wait"} | {"forgot"}
local now = now_us()
local epoch, here = epoch_of(KEYS[1])
if not epoch then
  begin(KEYS[1], now, here, ARGV[3])
  return {'forgot'}
end
local record = redis.call('HGET', KEYS[1], ARGV[1])
if record then
  return {'found', record}
end
if now - epoch < tonumber(ARGV[2]) then
  return {'wait'}
end
return {'none'}
