-- Begin a lease.
-- KEYS[1]  lease of a node
-- ARGV[1]  incarnation    ARGV[2]  lease in milliseconds    ARGV[3]  milliseconds for which a lapsed lease is kept
-- Result   who the server is, '' where it doesn't say
local here = server()
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. here .. ' ' .. ARGV[2], 'PX', ARGV[2] + ARGV[3])
return here
