--[[
  Changes a record, all or nothing: fields, rewards, events, the message that wakes waiting clients,
  and a notice for the outbox.

  - Fencing: a change with a lease token is refused when the record has another one, so a worker
    that lost its lease cannot overwrite the work of the next.
  - A full Redis makes changes too: accepted work goes on, can be canceled and can be deleted.
  - Idempotent: a connection that broke before the answer sends a change again. The record remembers
    the last change of its lease holder and the last one of anybody else, and makes neither twice.
  - What the record used is added to the usage of the day in the same step, so no crash can lose or
    repeat it.
  - The notice is written in the same step, so no crash can lose it. A snapshot of the record goes
    with it, because the record may change or be deleted before the notice is dispatched. A change
    to the status that the record already has gives no notice.

  Internal fields: _owner (lease token), _change:owner and _change:other (last change), _removing
  (deletion has begun: the record cannot be reopened), _sequence:TYPE (last sequence of an event
  type).

  Input:
    KEYS[1] record             hash
    KEYS[2] stream             its events
    KEYS[3] rewards            list
    KEYS[4] outbox             sorted set
    KEYS[5] unqueued           sorted set
    KEYS[6] snapshot           hash, written with a notice of a status
    KEYS[7] ended              hash: work that ended, by kind and status
    KEYS[8] usage_day          hash: usage of today (includes/usage.lua)
    KEYS[9] stored_bytes       hash: bytes in storage by tenant

    ARGV[1] id
    ARGV[2] change_id          unique for each change
    ARGV[3] lease_token        that the record has to have; '': any
    ARGV[4] new_lease_token    '': stays as it is
    ARGV[5] statuses_json      list of statuses that the record may have; empty: any
    ARGV[6] expected_json      names and values, alternately, of fields that the record has to have
    ARGV[7] fields_json        names and values, alternately, to be set
    ARGV[8] new_status         status among them, for which a notice is written; '': none
    ARGV[9] events_json        list of {type, data, sequence}; once for each type and sequence
    ARGV[10] rewards_offset    entries of the list that stay; -1: no rewards
    ARGV[11] rewards_json      entries that follow them
    ARGV[12] notice            JSON; '': none
    ARGV[13] snapshot_seconds  time to live of the snapshot
    ARGV[14] queue             1: add the id to `unqueued`
    ARGV[15] reopen            1: remove the `done` event
    ARGV[16] changes_channel
    ARGV[17] outbox_message    published on that channel with a notice
    ARGV[18] ended_field       counted if the status is new; '': the work goes on
    ARGV[19] usage_json        totals of what the record used so far; '': nothing is counted

  Output:
    'done'
    'missing'       there is no such record, or it is being deleted and cannot be reopened
    'not-owner'     the record has another lease token
    'wrong-status'  the record has none of the statuses, or not the expected fields
]]
local record, stream, rewards, outbox, unqueued, snapshot, ended, usage_day, stored_bytes = unpack(KEYS)
local id, change_id, lease_token, new_lease_token, statuses_json, expected_json, fields_json, new_status,
  events_json, rewards_offset, rewards_json, notice, snapshot_seconds, queue, reopen, changes_channel,
  outbox_message, ended_field, usage_json = unpack(ARGV)

--- @include "includes/first-event"
--- @include "includes/usage"
--- @include "../../redis/lua/includes/allow-when-full"

local function has_one_of(statuses)
  if #statuses == 0 then return true end
  local status = redis.call('HGET', record, 'status')
  for _, allowed in ipairs(statuses) do if allowed == status then return true end end
  return false
end

local function has_fields(expected)
  for i = 1, #expected, 2 do
    if redis.call('HGET', record, expected[i]) ~= expected[i + 1] then return false end
  end
  return true
end

-- Retrying a job removes its last event, which is among the latest few.
local function remove_done_event()
  for _, entry in ipairs(redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 8)) do
    if entry[2][2] == 'done' then redis.call('XDEL', stream, entry[1]) end
  end
end

local function write_rewards(offset, entries)
  if offset == 0 then redis.call('DEL', rewards) else redis.call('LTRIM', rewards, 0, offset - 1) end
  for _, entry in ipairs(entries) do redis.call('RPUSH', rewards, entry) end
end

local function append_event(event)
  if event.sequence then
    local field = '_sequence:' .. event.type
    if tonumber(redis.call('HGET', record, field) or '-1') >= event.sequence then return end
    redis.call('HSET', record, field, event.sequence)
  end
  redis.call('XADD', stream, 'MAXLEN', '~', 20000, '*', 'type', event.type, 'data', event.data)
end

if redis.call('EXISTS', record) == 0 then return 'missing' end
local is_holder = lease_token ~= '' or new_lease_token ~= ''
local last_change = is_holder and '_change:owner' or '_change:other'
if redis.call('HGET', record, last_change) == change_id then return 'done' end
if lease_token ~= '' and redis.call('HGET', record, '_owner') ~= lease_token then return 'not-owner' end
if reopen == '1' and redis.call('HEXISTS', record, '_removing') == 1 then return 'missing' end
if not has_one_of(cjson.decode(statuses_json)) then return 'wrong-status' end
if not has_fields(cjson.decode(expected_json)) then return 'wrong-status' end

allow_when_full(record)
write_first_event(record, stream)
redis.call('HSET', record, last_change, change_id)
if new_status ~= '' and redis.call('HGET', record, 'status') == new_status then
  notice, ended_field = '', ''
end
if new_lease_token ~= '' then redis.call('HSET', record, '_owner', new_lease_token) end
local fields = cjson.decode(fields_json)
if #fields > 0 then redis.call('HSET', record, unpack(fields)) end
if ended_field ~= '' then redis.call('HINCRBY', ended, ended_field, 1) end
count_usage(record, usage_day, stored_bytes, usage_json)
if queue == '1' then redis.call('ZADD', unqueued, redis.call('TIME')[1], id) end
if reopen == '1' then remove_done_event() end
local offset = tonumber(rewards_offset)
if offset >= 0 then write_rewards(offset, cjson.decode(rewards_json)) end
for _, event in ipairs(cjson.decode(events_json)) do append_event(event) end

redis.call('PUBLISH', changes_channel, id)
if notice ~= '' then
  redis.call('ZADD', outbox, 0, notice)
  if new_status ~= '' then
    redis.call('COPY', record, snapshot, 'REPLACE')
    redis.call('EXPIRE', snapshot, snapshot_seconds)
  end
  redis.call('PUBLISH', changes_channel, outbox_message)
end
return 'done'
