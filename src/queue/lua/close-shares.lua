--[[
  Ends an evaluation. Helpers that still have shares of it stop.

  Input:
    KEYS[1] shares_key    hash
    KEYS[2] open_shares   sorted set

    ARGV[1] id            of the job
    ARGV[2] evaluation
    ARGV[3] channel

  Output:
    nothing
]]
local shares_key, open_shares = unpack(KEYS)
local id, evaluation, channel = unpack(ARGV)

if redis.call('HGET', shares_key, 'evaluation') ~= evaluation then return end
redis.call('DEL', shares_key)
redis.call('ZREM', open_shares, id)
redis.call('PUBLISH', channel, id)
