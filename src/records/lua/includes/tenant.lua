-- DEFAULT_TENANT of src/contract/tenants.ts: owner of records and queue entries without a tenant.
local DEFAULT_TENANT = 'default'

-- Whether the record (key of a hash that exists) is the tenant's.
local function belongs_to(record, tenant)
  local owner = redis.call('HGET', record, 'tenant') or '"' .. DEFAULT_TENANT .. '"'
  return owner == '"' .. tenant .. '"'
end
