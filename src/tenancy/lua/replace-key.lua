--[[
  Replaces the description of an API key, unless it changed since it was read, and adds another key
  in the same step (rotation). It deletes first, so a key can be revoked in a full Redis.

  Input:
    KEYS[1] api_keys  hash: descriptions by the SHA-256 of their secret

    ARGV[1] hash      of the secret
    ARGV[2] before    the description as it was read
    ARGV[3] after
    ARGV[4] new_hash  of the secret of the added key; '': none is added
    ARGV[5] new_key   its description

  Output:
    1  it was replaced
    0  it changed meanwhile; nothing was written
]]
local api_keys = KEYS[1]
local hash, before, after, new_hash, new_key = unpack(ARGV)

if redis.call('HGET', api_keys, hash) ~= before then return 0 end
redis.call('HDEL', api_keys, hash)
redis.call('HSET', api_keys, hash, after)
if new_hash ~= '' then redis.call('HSET', api_keys, new_hash, new_key) end
return 1
