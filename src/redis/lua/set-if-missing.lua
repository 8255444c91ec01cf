--[[
  Sets a string that expires, if there is none. It works in a full Redis, where SET does not.

  Input:
    KEYS[1] key           string

    ARGV[1] value
    ARGV[2] milliseconds  time to live

  Output:
    1  it was set
    0  there was one, which stays
]]
local key = KEYS[1]
local value, milliseconds = unpack(ARGV)

if redis.call('EXISTS', key) == 1 then return 0 end
redis.call('DEL', key) -- a write that takes no memory allows the next one
redis.call('SET', key, value, 'PX', milliseconds)
return 1
