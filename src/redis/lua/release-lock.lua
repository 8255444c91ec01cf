--[[
  Deletes a lock that still has this token.

  Input:
    KEYS[1] lock   string: the token of its holder

    ARGV[1] token  of the caller

  Output:
    1  the lock is released
    0  the caller does not hold it (any more)
]]
local lock = KEYS[1]
local token = ARGV[1]

if redis.call('GET', lock) ~= token then return 0 end
return redis.call('DEL', lock)
