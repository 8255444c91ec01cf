--[[
  How many entries wait in one queue, and since when: in all, by tenant and by model. Reads a few
  entries of each tenant and model, never the whole queue.

  Input:
    KEYS[1] scheduled
    KEYS[2] served
    KEYS[3] tenants
    KEYS[4] clock

    ARGV[1] queue_prefix    of BullMQ's keys
    ARGV[2] waiting_prefix
    ARGV[3] models_prefix
    ARGV[4] models_json     names of the models to look at
    ARGV[5] max_tenants     that are looked at
    ARGV[6] max_listed      of them in the output, those with the most entries

  Output:
    JSON: {tenants, models}, each a list of lists of name, entries, since; `since` is when the
    oldest entry was enqueued, milliseconds since 1970, and may be missing
]]
local scheduled, served, tenants, clock = unpack(KEYS)
local queue_prefix, waiting_prefix, models_prefix, models_json, max_tenants, max_listed = unpack(ARGV)
local call = redis.call
local PRIORITY_STEP = 0x100000000
local FIRST_PRIORITY, LAST_PRIORITY = 2, 4 -- of deferred entries (bullmq-keys.ts)
local MAX_STALE = 100

-- A tenant's set has its entries by priority, and the oldest of each first.
local function oldest_of(waiting)
  local oldest
  for priority = FIRST_PRIORITY, LAST_PRIORITY do
    local low, high = priority * PRIORITY_STEP, (priority + 1) * PRIORITY_STEP
    local id = call('ZRANGEBYSCORE', waiting, low, '(' .. high, 'LIMIT', 0, 1)[1]
    local since = id and tonumber(call('HGET', queue_prefix .. id, 'timestamp') or '')
    if since and (not oldest or since < oldest) then oldest = since end
  end
  return oldest
end

-- The first entry of a model's set and its time. Drops those that left the queue unnoticed.
local function first_of(waiting)
  for _ = 1, MAX_STALE do
    local first = call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
    local id = first[1]
    local waits = not id or call('ZSCORE', queue_prefix .. 'prioritized', id) or
      call('SISMEMBER', waiting_prefix .. ':held', id) == 1
    if waits then return first[2] end
    call('ZREM', waiting, id)
  end
end

local by_tenant = {}
for _, tenant in ipairs(call('ZRANGE', tenants, 0, max_tenants - 1)) do
  local entries = call('ZCARD', waiting_prefix .. tenant)
  if entries > 0 then by_tenant[#by_tenant + 1] = {tenant, entries} end
end
table.sort(by_tenant, function(a, b)
  if a[2] ~= b[2] then return a[2] > b[2] end
  return a[1] < b[1]
end)
for i = #by_tenant, max_listed + 1, -1 do by_tenant[i] = nil end
for _, entry in ipairs(by_tenant) do entry[3] = oldest_of(waiting_prefix .. entry[1]) end

local by_model = {}
for _, model in ipairs(cjson.decode(models_json)) do
  local waiting = models_prefix .. model
  local since = first_of(waiting)
  if since then by_model[#by_model + 1] = {model, call('ZCARD', waiting), tonumber(since)} end
end
return cjson.encode({tenants = by_tenant, models = by_model})
