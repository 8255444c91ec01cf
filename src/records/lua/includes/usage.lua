-- Adds to the usage of a day what a record used since it was last counted. Totals of a record only
-- grow, and the record remembers in `_used:NAME` what was counted. So a repeated change, a repeated
-- end and a retried job count nothing twice.
--
--   day           hash: "TENANT NAME" -> sum of the day; 'bytes': those that the tenant has stored
--   totals_json   {NAME: total of the record}; '': nothing
local USAGE_SECONDS = 401 * 86400 -- USAGE_DAYS of src/records/usage.ts and one more

--- @include "tenant"
local function count_usage(record, day, stored_bytes, totals_json)
  if totals_json == '' then return end
  local owner = redis.call('HGET', record, 'tenant')
  local tenant = owner and cjson.decode(owner) or DEFAULT_TENANT
  for name, total in pairs(cjson.decode(totals_json)) do
    local added = total - tonumber(redis.call('HGET', record, '_used:' .. name) or '0')
    if added > 0 then
      redis.call('HSET', record, '_used:' .. name, total)
      redis.call('HINCRBY', day, tenant .. ' ' .. name, added)
    end
  end
  redis.call('HSET', day, tenant .. ' bytes', redis.call('HGET', stored_bytes, tenant) or '0')
  if redis.call('TTL', day) < 0 then redis.call('EXPIRE', day, USAGE_SECONDS) end
end
