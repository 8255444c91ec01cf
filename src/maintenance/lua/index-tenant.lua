--[[
  Copies the index of a kind to that of the default tenant, once in the life of a Redis: records
  from before there were tenants are listed as the default tenant's.

  Input:
    KEYS[1] index         sorted set: ids of the kind
    KEYS[2] tenant_index  sorted set: ids of the kind and the default tenant

  Output:
    how many ids were copied
]]
local index, tenant_index = unpack(KEYS)

if redis.call('EXISTS', tenant_index) == 1 or redis.call('EXISTS', index) == 0 then return 0 end
return redis.call('ZUNIONSTORE', tenant_index, 1, index)
