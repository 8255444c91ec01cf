--[[
  Removes a record with all that belongs to it, frees its bytes and notes the deletion. It deletes
  first and writes afterwards, so it works in a full Redis. A record that is removed twice is not
  subtracted twice.

  Input:
    KEYS[1] record        hash
    KEYS[2] children      set
    KEYS[3] stream        its events
    KEYS[4] rewards       list
    KEYS[5] index         sorted set: ids of the kind
    KEYS[6] tenant_index  sorted set: ids of the kind and tenant
    KEYS[7] stored_bytes  hash: bytes in storage by tenant
    KEYS[8] gone          string: the note

    ARGV[1] id
    ARGV[2] tenant
    ARGV[3] at            time of the deletion, RFC 3339
    ARGV[4] seconds       time to live of the note

  Output:
    nothing
]]
local record, children, stream, rewards, index, tenant_index, stored_bytes, gone = unpack(KEYS)
local id, tenant, at, seconds = unpack(ARGV)

local sizes = redis.call('HMGET', record, 'bytes', '_counted')
local bytes = tonumber(sizes[1] or '0') + tonumber(sizes[2] or '0')
redis.call('DEL', record, children, stream, rewards)
redis.call('ZREM', index, id)
redis.call('ZREM', tenant_index, id)
if bytes ~= 0 then redis.call('HINCRBY', stored_bytes, tenant, -bytes) end
redis.call('SET', gone, at .. ' ' .. tenant, 'EX', seconds)
