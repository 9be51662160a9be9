-- Begin a lease.
-- KEYS[1]  lease of a node
-- ARGV[1]  incarnation    ARGV[2]  milliseconds for which it and, when it has lapsed, its key are kept
-- Result   who the server is, '' where it doesn't say
local here = server()
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. here, 'PX', ARGV[2])
return here
