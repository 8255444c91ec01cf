import { FIRST_EVENT } from './events.ts';
import { OUTBOX_CHANGED } from './outbox.ts';

/**
 * One change of a record, all or nothing: fields, events, rewards, and the message that wakes who waits. The owner's
 * token fences it: a worker that lost its job to another one can't write over it. A change that a connection sends again,
 * because it broke before the answer came, is done once: the record remembers the last one of its owner and of others. A
 * notice for the outbox is part of the change: whoever crashes after it, what happened is told, with the record as it was then
 * (a job may be tried again, or be deleted, before it is told that it failed). That a status became what it was already is no
 * news. What is being deleted has ended for good.
 */
export const COMMIT = `${FIRST_EVENT}
local record, stream, rewards, outbox, unqueued, snapshot = unpack(KEYS)
local owner, statuses, fields, events = ARGV[1], cjson.decode(ARGV[2]), cjson.decode(ARGV[3]), cjson.decode(ARGV[4])
local new_owner, offset, values, channel, id = ARGV[5], tonumber(ARGV[6]), cjson.decode(ARGV[7]), ARGV[8], ARGV[9]
local notice, new_status = ARGV[10], ARGV[11]
local change, expected, queue, reopen = ARGV[12], cjson.decode(ARGV[13]), ARGV[14], ARGV[15]
local snapshot_seconds = ARGV[16]
if redis.call('EXISTS', record) == 0 then return 'missing' end
local latest = (owner ~= '' or new_owner ~= '') and '_change:owner' or '_change:other'
if redis.call('HGET', record, latest) == change then return 'done' end
if owner ~= '' and redis.call('HGET', record, '_owner') ~= owner then return 'not-owner' end
if reopen == '1' and redis.call('HEXISTS', record, '_removing') == 1 then return 'missing' end
if #statuses > 0 then
  local status, allowed = redis.call('HGET', record, 'status'), false
  for _, candidate in ipairs(statuses) do if candidate == status then allowed = true end end
  if not allowed then return 'wrong-status' end
end
for i = 1, #expected, 2 do
  if redis.call('HGET', record, expected[i]) ~= expected[i + 1] then return 'wrong-status' end
end
say_first(record, stream)
redis.call('HSET', record, latest, change)
if new_status ~= '' and redis.call('HGET', record, 'status') == new_status then notice = '' end
if new_owner ~= '' then redis.call('HSET', record, '_owner', new_owner) end
if #fields > 0 then redis.call('HSET', record, unpack(fields)) end
if queue == '1' then redis.call('ZADD', unqueued, redis.call('TIME')[1], id) end
if reopen == '1' then
  for _, entry in ipairs(redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 8)) do
    if entry[2][2] == 'done' then redis.call('XDEL', stream, entry[1]) end
  end
end
if offset >= 0 then
  if offset == 0 then redis.call('DEL', rewards) else redis.call('LTRIM', rewards, 0, offset - 1) end
  for _, value in ipairs(values) do redis.call('RPUSH', rewards, value) end
end
for _, event in ipairs(events) do
  local fresh = true
  if event.sequence then
    local field = '_sequence:' .. event.type
    if tonumber(redis.call('HGET', record, field) or '-1') >= event.sequence then fresh = false
    else redis.call('HSET', record, field, event.sequence) end
  end
  if fresh then redis.call('XADD', stream, 'MAXLEN', '~', 20000, '*', 'type', event.type, 'data', event.data) end
end
redis.call('PUBLISH', channel, id)
if notice ~= '' then
  redis.call('ZADD', outbox, 0, notice)
  if new_status ~= '' then
    redis.call('COPY', record, snapshot, 'REPLACE')
    redis.call('EXPIRE', snapshot, snapshot_seconds)
  end
  redis.call('PUBLISH', channel, '${OUTBOX_CHANGED}')
end
return 'done'
`;

/** A new record, all or nothing; two requests with one id (idempotency) can't write over each other. */
export const CREATE = `
local record, index, children, stream, tenants_index, stored_bytes, deadlines = unpack(KEYS)
local id, only_new, has_parent, fields, events = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
local tenant, bytes, deadline = ARGV[6], tonumber(ARGV[7]), ARGV[8]
if redis.call('EXISTS', record) == 1 then
  local owner = redis.call('HGET', record, 'tenant') or '"default"'
  if owner ~= '"' .. tenant .. '"' then return 'taken' end
  if only_new == '1' then return 'there' end
end
local more = bytes - tonumber(redis.call('HGET', record, 'bytes') or '0')
if more ~= 0 then redis.call('HINCRBY', stored_bytes, tenant, more) end
redis.call('HSET', record, unpack(fields))
redis.call('ZADD', index, 0, id)
redis.call('ZADD', tenants_index, 0, id)
if has_parent == '1' then redis.call('SADD', children, id) end
if deadline ~= '' then redis.call('ZADD', deadlines, deadline, id) end
for _, event in ipairs(events) do redis.call('XADD', stream, '*', 'type', event.type, 'data', event.data) end
`;

/** A record in the form of a newer version, unless somebody changed it meanwhile: then the next reader does it. */
export const MIGRATE = `
local record, version, next_version, before, after = KEYS[1], ARGV[1], ARGV[2], cjson.decode(ARGV[3]), cjson.decode(ARGV[4])
if redis.call('EXISTS', record) == 0 or (redis.call('HGET', record, '_version') or '0') ~= version then return end
for i = 1, #before, 2 do
  if (redis.call('HGET', record, before[i]) or '') ~= before[i + 1] then return end
end
for i = 1, #after, 2 do redis.call('HSET', record, after[i], after[i + 1]) end
redis.call('HSET', record, '_version', next_version)
`;
