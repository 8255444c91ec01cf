--[[
  Leases notices that are due: each comes again when its lease is over, unless it was finished. The
  clock is that of Redis, so clocks of processes need not agree.

  Input:
    KEYS[1] outbox         sorted set: notices by the time (seconds) from which they may be leased

    ARGV[1] count          most notices
    ARGV[2] lease_seconds

  Output:
    list of notices (JSON)
]]
local outbox = KEYS[1]
local count, lease_seconds = unpack(ARGV)

--- @include "../../redis/lua/includes/allow-when-full"
allow_when_full(outbox)
local now = tonumber(redis.call('TIME')[1])
local due = redis.call('ZRANGEBYSCORE', outbox, '-inf', now, 'LIMIT', 0, tonumber(count))
for _, notice in ipairs(due) do redis.call('ZADD', outbox, now + tonumber(lease_seconds), notice) end
return due
