--[[
  Ends a request that has an idempotency key, or prolongs its lease. Requests that wait for it are
  told through a channel.

  Input:
    KEYS[1] entry     hash (begin-idempotent.lua)

    ARGV[1] token     of the caller
    ARGV[2] answer    JSON; 'again': it is made again from the record; '': none to repeat
    ARGV[3] lease_ms  '': the request ends
    ARGV[4] channel
    ARGV[5] message

  Output:
    1  done
    0  the caller does not have the entry (any more)
]]
local entry = KEYS[1]
local token, answer, lease_ms, channel, message = unpack(ARGV)

if redis.call('HGET', entry, 'token') ~= token then return 0 end
if lease_ms ~= '' then
  local time = redis.call('TIME')
  redis.call('HSET', entry, 'lease', time[1] * 1000 + math.floor(time[2] / 1000) + lease_ms)
  return 1
end
redis.call('HDEL', entry, 'token', 'lease')
if answer ~= '' then redis.call('HSET', entry, 'answer', answer) end
redis.call('PUBLISH', channel, message)
return 1
