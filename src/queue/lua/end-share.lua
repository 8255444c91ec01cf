--[[
  A helper ends its work on a share: with a result, the first of which counts; or without one, and
  then the share is given out again.

  Input:
    KEYS[1] shares_key   hash

    ARGV[1] evaluation
    ARGV[2] index        of the share
    ARGV[3] helper       id of its worker
    ARGV[4] result       JSON; '': none
    ARGV[5] may_retry    1: other helpers may try it; 0: the coordinator has to evaluate it
    ARGV[6] id           of the job
    ARGV[7] channel      where the coordinator listens for the id
    ARGV[8] message      that wakes helpers

  Output:
    1  the result counts, or the share is free
    0  somebody else has evaluated it, the helper has it no longer, or the evaluation is over
]]
local shares_key = KEYS[1]
local evaluation, index, helper, result, may_retry, id, channel, message = unpack(ARGV)

--- @include "includes/shares"

local shares = read_shares(shares_key, evaluation)
local share = shares and shares[tonumber(index) + 1]
if not share or share.done then return 0 end
if result ~= '' then
  share.done = true
  redis.call('HSET', shares_key, 'result:' .. index, result)
elseif share.holder ~= helper then
  return 0
elseif may_retry == '0' then
  share.gives = MAX_GIVES
end
release(share)
local free = write_shares(shares_key, shares)
redis.call('PUBLISH', channel, id)
if result == '' and free > 0 then redis.call('PUBLISH', channel, message) end
return 1
