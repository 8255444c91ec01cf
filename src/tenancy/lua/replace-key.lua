--[[
  Replaces the description of an API key, unless it changed since it was read. It deletes first, so
  a key can be revoked in a full Redis.

  Input:
    KEYS[1] api_keys  hash: descriptions by the SHA-256 of their secret

    ARGV[1] hash      of the secret
    ARGV[2] before    the description as it was read
    ARGV[3] after

  Output:
    1  it was replaced
    0  it changed meanwhile
]]
local api_keys = KEYS[1]
local hash, before, after = unpack(ARGV)

if redis.call('HGET', api_keys, hash) ~= before then return 0 end
redis.call('HDEL', api_keys, hash)
redis.call('HSET', api_keys, hash, after)
return 1
