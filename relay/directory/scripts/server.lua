-- Put before each script that asks who runs it. What another server knew may be missing here: after a failover to a
-- replica that was behind, or a restart from an old snapshot.

-- The process that runs this, and which history it took over when it became a primary; '' where INFO is refused.
local function server()
  local info = redis.pcall('INFO', 'server', 'replication')
  if type(info) ~= 'string' then
    return ''
  end
  local run = string.match(info, 'run_id:(%x+)') or ''
  local history = string.match(info, 'master_replid2:(%x+)') or ''
  if string.find(history, '[^0]') then
    return run .. '/' .. history
  end
  return run
end

-- Whether the server that is known is still this one. One that only forgot the history it took over, is.
local function same(known, here)
  return known == here or known == '' or here == '' or known:sub(1, #here + 1) == here .. '/'
end

-- Epoch of a partition, or nothing where it was forgotten or is another server's; and who this server is. One that is
-- yet to come is an old one: the clock was set back since, which is no reason to wait for that time.
local function epoch_of(partition, now)
  local here = server()
  local epoch, known = string.match(redis.call('HGET', partition, '@') or '', '^(%d+) ?(%S*)')
  if epoch and same(known, here) then
    epoch = tonumber(epoch)
    return epoch <= now and epoch or 0, here
  end
  return nil, here
end

local function now_us()
  local now = redis.call('TIME')
  return now[1] * 1000000 + now[2]
end

-- A partition of which nothing is known begins anew: for one lease what isn't in it may yet be put back.
local function begin(partition, now, here, ttl)
  redis.call('HSET', partition, '@', string.format('%.0f %s', now, here))
  redis.call('PEXPIRE', partition, ttl)
end

