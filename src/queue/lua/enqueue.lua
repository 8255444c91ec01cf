--[[
  Enqueues new work of one tenant in one queue: a batch of entries, each all or nothing. Checks the
  limits of the tenant and counts the work, writes its record, adds it to BullMQ's queue and to the
  fair scheduler.

  One script instead of five round trips, so no crash can come between the steps, Redis syncs its
  file once, and concurrent requests cannot pass a limit together. An error in one entry does not
  affect the others. If only the queue fails, the record stays and the id is added to `unqueued`,
  from where maintenance queues it (src/jobs/requeue.ts). A batch that a connection sends twice
  finds its records and changes nothing.

  Input:
    KEYS[1] unqueued                 sorted set
    KEYS[2] deadlines                sorted set
    KEYS[3] stored_bytes             hash: bytes in storage by tenant
    KEYS[4] images_asked             counter of the tenant and day
    KEYS[5] index                    sorted set: ids of the kind
    KEYS[6] tenant_index             sorted set: ids of the kind and tenant
    KEYS[7] waiting_jobs             sorted set: entries of the tenant in the queue of jobs
    KEYS[8] waiting_samples          sorted set: entries of the tenant in the queue of samples
    KEYS[9] scheduled                of the fair scheduler, as are the next three
    KEYS[10] served
    KEYS[11] tenants
    KEYS[12] clock
    KEYS[entry + 1] record           hash
    KEYS[entry + 2] children         set of the parent; '': no parent

    ARGV[1] tenant
    ARGV[2] queue_name
    ARGV[3] queue_prefix             of BullMQ's keys
    ARGV[4] waiting_prefix           of the fair scheduler
    ARGV[5] models_prefix            of the fair scheduler
    ARGV[6] record_version
    ARGV[7] limits_json              {bytes, queued, images, running}, -1: no limit; '': nothing is
                                     counted. `running` is missing where it does not count
    ARGV[entry + 1] id
    ARGV[entry + 2] milliseconds     now, since 1970
    ARGV[entry + 3] record_json      the whole record
    ARGV[entry + 4] internal_json    names and values of internal fields, alternately; '': none
    ARGV[entry + 5] event            data of the first event, JSON; '': none
    ARGV[entry + 6] images           that the work may make
    ARGV[entry + 7] deadline         milliseconds since 1970; '': none
    ARGV[entry + 8] priority         in BullMQ's queue
    ARGV[entry + 9] options          of the entry in BullMQ's queue, JSON without the id
    ARGV[entry + 10] model           its name needs no escapes in JSON

  Output: for each entry
    {'enqueued', position}                  position 0: in no queue yet
    {'exists'}                              the tenant has a record with this id, which stays
    {'taken'}                               another tenant has one
    {'bytes' | 'queued' | 'images', used}   the limit that the work would pass
    {'failed', message}
]]
local unqueued, deadlines, stored_bytes, images_asked, index, tenant_index, waiting_jobs, waiting_samples,
  scheduled, served, tenants, clock = unpack(KEYS)
local tenant, queue_name, queue_prefix, waiting_prefix, models_prefix, record_version, limits_json =
  unpack(ARGV)

--- @include "../../records/lua/includes/tenant"
--- @include "../../records/lua/includes/new-record"
--- @include "includes/fair-scheduling"
local call = redis.call
local queue = bullmq_queue(queue_prefix)
local scheduler = fair_scheduler(queue, scheduled, served, tenants, clock, waiting_prefix, models_prefix)
local batch_size = (#KEYS - SHARED_KEYS) / ENTRY_KEYS
local IMAGES_ASKED_SECONDS = 172800 -- the day of the counter and one more

-- Read once for the batch: the scheduled entries of all tenants, and whether this tenant has one.
local scheduled_entries, has_scheduled = nil, false

local function read_scheduled()
  scheduled_entries = scheduler.read_scheduled()
  local own = scheduler.entry_of(scheduled_entries, tenant)
  has_scheduled = has_scheduled or (own ~= nil and scheduler.is_scheduled(own))
end

-- Adds an entry to the queue and returns its position.
local function add_to_queue(id, milliseconds, priority, options, model)
  local score = queue.add(id, tenant, model, queue_name, options, milliseconds, priority, batch_size)
  if score then scheduler.defer(id, tenant, score, model, milliseconds) end
  local rank = call('ZRANK', waiting_prefix .. tenant, id)
  if not scheduled_entries then read_scheduled() end
  -- If the tenant already has a scheduled entry, that one stays, unless this one comes before it.
  if not has_scheduled or rank == 0 then
    scheduler.schedule_next(tenant)
    scheduled_entries = scheduler.read_scheduled()
    has_scheduled = true
  end
  local is_only_tenant = #scheduled_entries == 2
  if is_only_tenant and rank then return rank + 1 end
  return scheduler.position(id, tenant, scheduled_entries)
end

-- Counts the images, or returns the limit that the work would pass and what is used of it.
local function count_in(images)
  local limits = cjson.decode(limits_json)
  local bytes = tonumber(call('HGET', stored_bytes, tenant) or '0')
  if limits.bytes >= 0 and bytes >= limits.bytes then return 'bytes', bytes end
  local queued = call('ZCARD', waiting_jobs) + call('ZCARD', waiting_samples)
  if limits.queued >= 0 and queued >= limits.queued then return 'queued', queued end
  local asked = tonumber(call('GET', images_asked) or '0')
  if limits.images >= 0 and asked + images > limits.images then return 'images', asked end
  call('INCRBY', images_asked, images)
  if asked == 0 then call('EXPIRE', images_asked, IMAGES_ASKED_SECONDS) end
end

local function enqueue(first_key, first_arg)
  local record, children = unpack(KEYS, first_key, first_key + ENTRY_KEYS - 1)
  local id, milliseconds, record_json, internal_json, event, images, deadline, priority, options,
    model = unpack(ARGV, first_arg, first_arg + ENTRY_ARGS - 1)

  if call('EXISTS', record) == 1 then return {belongs_to(record, tenant) and 'exists' or 'taken'} end
  if limits_json ~= '' then
    local limit, used = count_in(images)
    if limit then return {limit, used} end
  end
  write_new_record(record, id, tenant, record_version, record_json, milliseconds, event)
  if limits_json ~= '' then -- remove.lua subtracts what is counted here
    call('HSET', record, '_counted', #record_json)
    call('HINCRBY', stored_bytes, tenant, #record_json)
  end
  if internal_json ~= '' then call('HSET', record, unpack(cjson.decode(internal_json))) end
  call('ZADD', index, 0, id)
  call('ZADD', tenant_index, 0, id)
  if children ~= '' then call('SADD', children, id) end
  if deadline ~= '' then call('ZADD', deadlines, deadline, id) end

  local is_queued, position = pcall(add_to_queue, id, milliseconds, tonumber(priority), options,
    model)
  if is_queued then return {'enqueued', position} end
  scheduled_entries, has_scheduled = nil, false
  queue.undo_add(id)
  scheduler.forget(id, tenant, model)
  call('ZADD', unqueued, call('TIME')[1], id)
  return {'enqueued', 0}
end

if limits_json ~= '' then
  local running = cjson.decode(limits_json).running
  if running then pcall(scheduler.set_limit, tenant, running) end
end
local answers = {}
for entry = 0, batch_size - 1 do
  local first_key, first_arg = SHARED_KEYS + entry * ENTRY_KEYS + 1, SHARED_ARGS + entry * ENTRY_ARGS + 1
  local is_done, answer = pcall(enqueue, first_key, first_arg)
  if not is_done then
    local message = type(answer) == 'table' and answer.err or tostring(answer)
    -- A replica refuses every write of every entry. As the error of the script, it makes the
    -- connection look for the primary.
    if message:find('READONLY ', 1, true) then return redis.error_reply('READONLY ' .. message) end
    answer = {'failed', message}
  end
  answers[#answers + 1] = answer
end
return answers
