-- Write the record of a name that this session owns; put it back where it was forgotten.
-- KEYS[1]  hash of the partition
-- ARGV[1]  field of the name           ARGV[2]  uid of the node
-- ARGV[3]  incarnation of its lease    ARGV[4]  session
-- ARGV[5]  body of the record          ARGV[6]  the fence known so far
-- ARGV[7]  TTL of the partition in milliseconds
-- Result   {"ok", fence} | {"forgot", fence}: written, but others may have to be put back too | {"lost"}: another owns
--          it. The fence rises by one when the incarnation is a new one, or nothing was there. By no more: a session that
--          has moved on unheard may be the first to write itself back, and must stay below the one that it became.
local fence = ARGV[6]
local owner = ARGV[2] .. '/' .. ARGV[3] .. '/' .. ARGV[4]
local result = 'ok'
local record = redis.call('HGET', KEYS[1], ARGV[1])
local f, uid, incarnation, session = string.match(record or '', '^(%d+) ([^/ ]+)/([^/ ]+)/(%S+)')
local ours = uid == ARGV[2] and session == ARGV[4]
if record and not ours and tonumber(f) >= tonumber(fence) then
  return {'lost'}
end
if not ours or incarnation ~= ARGV[3] then
  local now = now_us()
  local epoch, here = epoch_of(KEYS[1], now)
  if not epoch then
    begin(KEYS[1], now, here, ARGV[7])
    result = 'forgot'
  end
  if record and not ours then
    result = 'forgot' -- whoever owns a name after us has a higher fence: this is what an older server remembers
  else
    fence = string.format('%.0f', math.max(tonumber(f or 0), tonumber(fence)) + 1)
  end
end
redis.call('HSET', KEYS[1], ARGV[1], fence .. ' ' .. owner .. ' ' .. ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return {result, fence}
