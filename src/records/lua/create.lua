--[[
  Writes a record with its index entries and first events, all or nothing. A record with this id is
  overwritten, unless `only_new` is set: of two requests with one id, the first stands.

  Input:
    KEYS[1] record         hash
    KEYS[2] index          sorted set: ids of the kind
    KEYS[3] tenant_index   sorted set: ids of the kind and tenant
    KEYS[4] children       set of the parent
    KEYS[5] stream         events of the record
    KEYS[6] stored_bytes   hash: bytes in storage by tenant
    KEYS[7] deadlines      sorted set

    ARGV[1] id
    ARGV[2] tenant
    ARGV[3] only_new       1 or 0
    ARGV[4] has_parent     1 or 0
    ARGV[5] fields_json    names and values of the hash, alternately
    ARGV[6] events_json    list of {type, data}
    ARGV[7] bytes          of its file in storage
    ARGV[8] deadline       milliseconds since 1970; '': none
    ARGV[9] is_accepted    1: belongs to accepted work, which goes on in a full Redis; 0: new work

  Output:
    nil      the record was written
    'taken'  another tenant has a record with this id
    'exists' the tenant has a record with this id, and only_new is set
]]
local record, index, tenant_index, children, stream, stored_bytes, deadlines = unpack(KEYS)
local id, tenant, only_new, has_parent, fields_json, events_json, bytes, deadline, is_accepted =
  unpack(ARGV)

--- @include "includes/tenant"
--- @include "../../redis/lua/includes/allow-when-full"
if is_accepted == '1' then allow_when_full(index) end
if redis.call('EXISTS', record) == 1 then
  if not belongs_to(record, tenant) then return 'taken' end
  if only_new == '1' then return 'exists' end
end
local added_bytes = tonumber(bytes) - tonumber(redis.call('HGET', record, 'bytes') or '0')
if added_bytes ~= 0 then redis.call('HINCRBY', stored_bytes, tenant, added_bytes) end
redis.call('HSET', record, unpack(cjson.decode(fields_json)))
redis.call('ZADD', index, 0, id)
redis.call('ZADD', tenant_index, 0, id)
if has_parent == '1' then redis.call('SADD', children, id) end
if deadline ~= '' then redis.call('ZADD', deadlines, deadline, id) end
for _, event in ipairs(cjson.decode(events_json)) do
  redis.call('XADD', stream, '*', 'type', event.type, 'data', event.data)
end
