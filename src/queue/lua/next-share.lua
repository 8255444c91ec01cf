--[[
  Gives the coordinator its next share: the first that nobody has; else the one that was taken
  longest ago, if that is longer ago than `max_age`. Its holder is slow or dead; the first result of
  a share counts. Other shares that were taken so long ago are offered to helpers again.

  Input:
    KEYS[1] shares_key    hash

    ARGV[1] evaluation
    ARGV[2] coordinator   id of its worker
    ARGV[3] finished      index of a share that the coordinator has evaluated; -1: none
    ARGV[4] max_age       milliseconds
    ARGV[5] milliseconds  time to live without renewal
    ARGV[6] channel
    ARGV[7] message       that wakes helpers

  Output:
    {'taken', index}
    {'wait', milliseconds}   helpers have all that is left; time until one is given out again
    {'ended'}                all shares are done, or the evaluation is over
]]
local shares_key = KEYS[1]
local evaluation, coordinator, finished, max_age, milliseconds, channel, message = unpack(ARGV)
finished, max_age = tonumber(finished), tonumber(max_age)

--- @include "includes/shares"

local shares = read_shares(shares_key, evaluation)
if not shares then return {'ended'} end
local now = milliseconds_now()

local function mark_finished(index)
  local share = shares[index + 1]
  if share.done then return end
  share.done = true
  release(share)
  redis.call('HSET', shares_key, 'result:' .. index, '')
end

-- Indices, from 1, of the first free share and of the one that was taken longest ago.
local function find()
  local free, oldest
  for i, share in ipairs(shares) do
    if is_free(share) then free = free or i end
    if share.holder ~= '' and (not oldest or share.at < shares[oldest].at) then oldest = i end
  end
  return free, oldest
end

local function release_others()
  for _, share in ipairs(shares) do
    if share.holder ~= '' and not share.own and now - share.at >= max_age then release(share) end
  end
end

redis.call('PEXPIRE', shares_key, milliseconds) -- allows the next writes in a full Redis
if finished >= 0 then mark_finished(finished) end
local free, oldest = find()
local answer = {'ended'}
if free then
  hold(shares[free], coordinator, now, true)
  answer = {'taken', free - 1}
elseif oldest and now - shares[oldest].at >= max_age then
  hold(shares[oldest], coordinator, now, true)
  release_others()
  answer = {'taken', oldest - 1}
elseif oldest then
  answer = {'wait', max_age - (now - shares[oldest].at)}
end
local is_offered = write_shares(shares_key, shares) > 0
if is_offered and not free then redis.call('PUBLISH', channel, message) end
return answer
