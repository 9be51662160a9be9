-- Make a partition that isn't there, or that another server remembered.
-- KEYS[1]  hash of the partition
-- ARGV[1]  "1": nobody can own a name in it, so it needn't be waited with    ARGV[2]  its TTL in milliseconds
-- Result   {1: made | 0: it was there, its epoch, the server's time in microseconds}
local now = now_us()
local epoch, here = epoch_of(KEYS[1], now)
if not epoch then
  begin(KEYS[1], ARGV[1] == '1' and 0 or now, here, ARGV[2])
end
return {epoch and 0 or 1, redis.call('HGET', KEYS[1], '@'), string.format('%.0f', now)}
