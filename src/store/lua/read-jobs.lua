--[[
  Conditional read of jobs and their queue positions: the caller sends the revision it knows, and
  the record is returned only if it changed. A revision names the last changes of the record, by its
  worker and by others, and the creation of the record.

  Input:
    KEYS[1] scheduled            of the fair scheduler, as are the next three
    KEYS[2] served
    KEYS[3] tenants
    KEYS[4] clock
    KEYS[entry + 1] record       hash

    ARGV[1] queue_prefix         of BullMQ's keys
    ARGV[2] waiting_prefix       of the fair scheduler
    ARGV[entry + 1] id
    ARGV[entry + 2] revision     that the caller knows; '': none

  Output: for each entry
    {}                           there is no such record
    {revision, position}         the record is that of the revision; position 0: it does not wait
    {revision, position, hash}   names and values of its fields, alternately
    message                      of an error
]]
local scheduled, served, tenants, clock = unpack(KEYS)
local queue_prefix, waiting_prefix = unpack(ARGV)

--- @include "../../queue/lua/includes/fair-scheduling"
local queue = bullmq_queue(queue_prefix)
local scheduler = fair_scheduler(queue, scheduled, served, tenants, clock, waiting_prefix)

local scheduled_entries
local function read_job(record, id, known_revision)
  local fields = redis.call('HMGET', record, 'status', 'tenant', 'createdAt', 'requestId', '_version',
    '_change:owner', '_change:other')
  local status, tenant = fields[1], fields[2]
  if not status then return {} end
  for i = 1, #fields do fields[i] = fields[i] or '' end
  local revision, position = table.concat(fields, ' '), 0
  if status == 'queued' then
    scheduled_entries = scheduled_entries or scheduler.read_scheduled()
    position = scheduler.position(id, tenant and string.sub(tenant, 2, -2), scheduled_entries)
  end
  if revision == known_revision then return {revision, position} end
  return {revision, position, redis.call('HGETALL', record)}
end

local answers = {}
for i = 1, #KEYS - SHARED_KEYS do
  local first_arg = SHARED_ARGS + (i - 1) * ENTRY_ARGS + 1
  local is_done, answer = pcall(read_job, KEYS[SHARED_KEYS + i], ARGV[first_arg], ARGV[first_arg + 1])
  answers[i] = is_done and answer or (type(answer) == 'table' and answer.err or tostring(answer))
end
return answers
