--[[
  Offers the shares of an evaluation to helpers. The coordinator has the first share already. What
  is left of an earlier evaluation of the job is replaced.

  Input:
    KEYS[1] record        of the job, hash
    KEYS[2] shares_key    hash
    KEYS[3] open_shares   sorted set

    ARGV[1] id            of the job
    ARGV[2] lease_token   that the record has to have
    ARGV[3] evaluation
    ARGV[4] tenant
    ARGV[5] kind
    ARGV[6] max_helpers
    ARGV[7] coordinator   id of its worker
    ARGV[8] tasks_json    list of texts, one for each share
    ARGV[9] milliseconds  time to live without renewal
    ARGV[10] channel
    ARGV[11] message      that wakes helpers

  Output:
    1  the shares can be taken
    0  another worker has the job
]]
local record, shares_key, open_shares = unpack(KEYS)
local id, lease_token, evaluation, tenant, kind, max_helpers, coordinator, tasks_json, milliseconds,
  channel, message = unpack(ARGV)

--- @include "includes/shares"

if redis.call('HGET', record, '_owner') ~= lease_token then return 0 end
redis.call('DEL', shares_key) -- a write that takes no memory allows the next ones in a full Redis
redis.call('HSET', shares_key, 'evaluation', evaluation, 'tenant', tenant, 'kind', kind,
  'max_helpers', max_helpers)
local shares = {}
for i, task in ipairs(cjson.decode(tasks_json)) do
  shares[i] = {holder = '', at = 0, own = false, gives = 0, done = false}
  redis.call('HSET', shares_key, 'task:' .. i - 1, task)
end
local now = milliseconds_now()
hold(shares[1], coordinator, now, true)
write_shares(shares_key, shares)
redis.call('ZADD', open_shares, now, id)
redis.call('PEXPIRE', shares_key, milliseconds)
redis.call('PEXPIRE', open_shares, milliseconds)
redis.call('PUBLISH', channel, message)
return 1
