--[[
  Gives a helper a share of some evaluation. Tenants whose shares fewer helpers have come first, and
  of one tenant's jobs the one from which none was taken for longest.

  Input:
    KEYS[1] open_shares     sorted set

    ARGV[1] shares_prefix   before the id of a job
    ARGV[2] helper          id of its worker
    ARGV[3] kind
    ARGV[4] excluded_json   list of ids of jobs

  Output:
    {id, evaluation, index, task}   id: of the job
    nil                             there is no share for this helper
]]
local open_shares = KEYS[1]
local shares_prefix, helper, kind, excluded_json = unpack(ARGV)

--- @include "includes/shares"

local excluded = {}
for _, id in ipairs(cjson.decode(excluded_json)) do excluded[id] = true end

-- The jobs with a share for this helper, and how many shares of each tenant helpers have.
local candidates, taken_of = {}, {}
for _, id in ipairs(redis.call('ZRANGE', open_shares, 0, -1)) do
  local fields = redis.call('HMGET', shares_prefix .. id, 'tenant', 'kind', 'free', 'taken', 'max_helpers')
  local tenant, free, taken = fields[1], tonumber(fields[3]), tonumber(fields[4])
  if not tenant then
    redis.call('ZREM', open_shares, id) -- its coordinator died
  else
    taken_of[tenant] = (taken_of[tenant] or 0) + taken
    local is_candidate = free > 0 and taken < tonumber(fields[5]) and fields[2] == kind and not excluded[id]
    if is_candidate then candidates[#candidates + 1] = {id = id, tenant = tenant} end
  end
end

local best
for _, candidate in ipairs(candidates) do
  if not best or taken_of[candidate.tenant] < taken_of[best.tenant] then best = candidate end
end
if not best then return nil end

local shares_key, now = shares_prefix .. best.id, milliseconds_now()
local evaluation = redis.call('HGET', shares_key, 'evaluation')
local shares = read_shares(shares_key, evaluation)
for i, share in ipairs(shares) do
  if is_free_for_helpers(share) then
    hold(share, helper, now, false)
    write_shares(shares_key, shares)
    redis.call('ZADD', open_shares, now, best.id)
    return {best.id, evaluation, i - 1, redis.call('HGET', shares_key, 'task:' .. i - 1)}
  end
end
return nil
