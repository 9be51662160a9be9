-- Look a name up. What is there, or isn't, means something only where its partition remembers.
-- KEYS[1]  hash of the partition
-- ARGV[1]  field of the name
-- ARGV[2]  microseconds for which a forgotten partition may still miss names, or hold what an older server remembers
-- ARGV[3]  TTL of the partition in milliseconds
-- Result   {"found", record, 1, or 0 within that time} | {"none"} | {"wait"} | {"forgot"}
local now = now_us()
local epoch, here = epoch_of(KEYS[1], now)
if not epoch then
  begin(KEYS[1], now, here, ARGV[3])
  return {'forgot'}
end
local record = redis.call('HGET', KEYS[1], ARGV[1])
local settled = now - epoch >= tonumber(ARGV[2])
if record then
  return {'found', record, settled and 1 or 0}
end
return {settled and 'none' or 'wait'}
