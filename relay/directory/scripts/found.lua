-- Make a partition that isn't there.
-- KEYS[1]  hash of the partition
-- ARGV[1]  "1": nobody can own a name in it, so it needn't be waited with    ARGV[2]  its TTL in milliseconds
-- Result   1 | 0: it was there
local epoch, here = epoch_of(KEYS[1])
if epoch then
  return 0
end
begin(KEYS[1], ARGV[1] == '1' and 0 or now_us(), here, ARGV[2])
return 1
