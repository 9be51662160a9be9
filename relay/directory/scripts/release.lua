-- Give a name back, if this session still owns it.
-- KEYS[1]  hash of the partition
-- ARGV[1]  field of the name    ARGV[2]  uid of the node    ARGV[3]  session
-- Result   1 | 0: it was another's, or nobody's
local record = redis.call('HGET', KEYS[1], ARGV[1])
if record then
  local uid, session = string.match(record, '^%d+ ([^/ ]+)/[^/ ]+/(%S+)')
  if uid == ARGV[2] and session == ARGV[3] then
    return redis.call('HDEL', KEYS[1], ARGV[1])
  end
end
return 0
